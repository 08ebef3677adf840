import { fileURLToPath } from "node:url";

/** Base of every error this package throws on purpose; `instanceof TensorError` separates them from defects. */
export class TensorError extends Error {
  override name = "TensorError";
}

/** Operands whose shapes or types an op cannot take. Thrown while the graph is built; names the op, the operands and the caller's line. */
export class ShapeError extends TensorError {
  override name = "ShapeError";
}

/** A gradient that does not exist or was asked for in a way that cannot be answered. */
export class GradientError extends TensorError {
  override name = "GradientError";
}

/** Data given to a compiled graph that does not fit what the graph declares. */
export class FeedError extends TensorError {
  override name = "FeedError";
}

/** A device that was asked for by name and is not usable here. */
export class DeviceError extends TensorError {
  override name = "DeviceError";
}

const packageFolder = fileURLToPath(new URL(".", import.meta.url));
/** The place in a stack frame, with its parentheses or without: a path or a URL, then line and column. */
const framePlace = /(?:^|\(|\s)((?:file:\/\/)?(?:\/|[A-Za-z]:[\\/]).*?)(:\d+:\d+)\)?$/;

/** First stack frame outside this package's sources, as `file:line:column`, or "unknown" when there is none. */
export function callerLine(): string {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 40;
  const frames = (new Error().stack ?? "").split("\n").slice(1);
  Error.stackTraceLimit = limit;
  for (const frame of frames) {
    const [, place, line] = framePlace.exec(frame) ?? [];
    if (place === undefined) continue;
    const path = place.startsWith("file://") ? fileURLToPath(place) : place;
    if (!path.startsWith(packageFolder) || /\.test\.[jt]s$/.test(path)) return `${path}${line}`;
  }
  return "unknown";
}
