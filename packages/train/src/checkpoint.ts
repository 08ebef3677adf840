import { createHash, randomBytes } from "node:crypto";
import { mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { z } from "zod";

type Json = z.core.util.JSONType;

/** Where a training stage stands: enough to continue as if it had never stopped. */
export interface Checkpoint {
  /** Updates done. */
  readonly step: number;
  /** What the stage keeps besides its arrays: metrics so far, the state of early stopping. */
  readonly progress: Json;
  /** Parameters, optimizer states. Names are file names without their ending. */
  readonly blobs: Readonly<Record<string, Uint8Array>>;
}

/** A folder holds the checkpoints of another training. */
export class CheckpointMismatchError extends Error {
  override readonly name = "CheckpointMismatchError";
}

const stateFile = "state.json";
const folderName = /^step-(\d{8})$/;

/**
 * The checkpoints of one training in a folder. Each appears whole or not at all: it is written beside its place, flushed to the
 * disk, and renamed. The last two are kept, as the last one may be damaged by what the disk did after a power cut.
 * @example
 * const checkpoints = new Checkpoints("runs/a/sft/checkpoints", { learningRate: 1e-4, seed: 1 });
 */
export class Checkpoints {
  readonly folder: string;
  readonly #settings: Json;

  /** @param settings everything that the training's outcome depends on; a checkpoint made under others is refused */
  constructor(folder: string, settings: Readonly<Record<string, unknown>>) {
    this.folder = folder;
    this.#settings = JSON.parse(JSON.stringify(settings)) as Json;
  }

  /** Writes a checkpoint, then removes all but the newest two. Errors: what the disk refuses. */
  async save({ step, progress, blobs }: Checkpoint): Promise<void> {
    await mkdir(this.folder, { recursive: true });
    const place = join(this.folder, `step-${String(step).padStart(8, "0")}`);
    const temporary = join(this.folder, `.step-${step}.${randomBytes(6).toString("hex")}.tmp`);
    await mkdir(temporary);
    try {
      const files: Record<string, { bytes: number; sha256: string }> = {};
      for (const [name, bytes] of Object.entries(blobs)) {
        await writeFlushed(join(temporary, `${name}.bin`), bytes);
        files[name] = { bytes: bytes.byteLength, sha256: sha256(bytes) };
      }
      const state = { step, settings: this.#settings, files, progress };
      await writeFlushed(join(temporary, stateFile), Buffer.from(JSON.stringify(state)));
      // One of the same step is there when this stretch was computed a second time.
      await rm(place, { recursive: true, force: true });
      await rename(temporary, place);
      await flushFolder(this.folder);
    } catch (error) {
      await rm(temporary, { recursive: true, force: true });
      throw error;
    }
    for (const { name } of (await this.#saved()).slice(2)) await rm(join(this.folder, name), { recursive: true });
  }

  /**
   * The newest checkpoint that is whole, or undefined where there is none: one whose contents are not what was written is passed
   * over. Also clears away what an interrupted `save` left.
   * @throws CheckpointMismatchError naming the settings that differ when it was made under others
   */
  async latest(): Promise<Checkpoint | undefined> {
    for (const name of await readdir(this.folder).catch(() => []))
      if (name.startsWith(".step-") && name.endsWith(".tmp"))
        await rm(join(this.folder, name), { recursive: true, force: true });
    for (const { name } of await this.#saved()) {
      const found = await readWhole(join(this.folder, name));
      if (!found) continue;
      const changed = differences(found.settings, this.#settings);
      if (changed.length > 0)
        throw new CheckpointMismatchError(
          `${join(this.folder, name)} was made with other settings: ${changed.slice(0, 5).join("; ")}. Continue with those settings, or give an empty folder to begin again.`,
        );
      return found.checkpoint;
    }
    return undefined;
  }

  /** The newest checkpoint's step and folder; undefined where there is none. */
  async newest(): Promise<{ readonly step: number; readonly folder: string } | undefined> {
    const [last] = await this.#saved();
    return last && { step: last.step, folder: join(this.folder, last.name) };
  }

  async #saved(): Promise<{ name: string; step: number }[]> {
    const names = await readdir(this.folder).catch(() => []);
    return names
      .flatMap((name) => {
        const step = folderName.exec(name)?.[1];
        return step === undefined ? [] : [{ name, step: Number(step) }];
      })
      .sort((a, b) => b.step - a.step);
  }
}

interface State {
  step: number;
  settings: Json;
  files: Record<string, { bytes: number; sha256: string }>;
  progress: Json;
}

async function readWhole(folder: string): Promise<{ settings: Json; checkpoint: Checkpoint } | undefined> {
  try {
    const { step, settings, files, progress } = JSON.parse(await readFile(join(folder, stateFile), "utf8")) as State;
    const blobs: Record<string, Uint8Array> = {};
    for (const [name, { bytes, sha256: expected }] of Object.entries(files)) {
      const data = await readFile(join(folder, `${name}.bin`));
      if (data.byteLength !== bytes || sha256(data) !== expected) return undefined;
      blobs[name] = data;
    }
    return { settings, checkpoint: { step, progress, blobs } };
  } catch {
    return undefined;
  }
}

/** Places where two JSON values differ, with both values. */
function differences(saved: Json | undefined, now: Json | undefined, place = ""): string[] {
  const isRecord = (value: Json | undefined): value is Record<string, Json> =>
    typeof value === "object" && value !== null && !Array.isArray(value);
  if (isRecord(saved) && isRecord(now)) {
    const keys = [...new Set([...Object.keys(saved), ...Object.keys(now)])].sort();
    return keys.flatMap((key) => differences(saved[key], now[key], place === "" ? key : `${place}.${key}`));
  }
  const show = (value: Json | undefined) => (value === undefined ? "not set" : JSON.stringify(value).slice(0, 60));
  return JSON.stringify(saved) === JSON.stringify(now) ? [] : [`${place} was ${show(saved)}, is ${show(now)}`];
}

/** SHA-256 of an adapter's weights: what a training that begins from it depends on, wherever the folder is. */
export async function adapterDigest(folder: string): Promise<string> {
  return sha256(await readFile(join(folder, "adapter_model.safetensors")));
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

async function writeFlushed(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, "wx");
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Makes a rename last through a power cut, where the system lets folders be flushed (Windows does not). */
async function flushFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r").catch(() => undefined);
  await handle?.sync().catch(() => undefined);
  await handle?.close();
}
