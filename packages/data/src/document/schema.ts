import type { z } from "zod";
import type { Path } from "./problem.ts";

type Type = z.core.$ZodType;

/** The schema below wrappers that leave a value's shape alone: optional, default, readonly, the input of a pipe and so on. */
export function unwrap(schema: Type): z.core.$ZodTypes {
  let inner = schema as z.core.$ZodTypes;
  for (;;) {
    const { def } = inner._zod;
    switch (def.type) {
      case "optional":
      case "nullable":
      case "default":
      case "prefault":
      case "catch":
      case "readonly":
      case "nonoptional":
      case "success":
      case "promise":
        inner = def.innerType as z.core.$ZodTypes;
        break;
      case "pipe":
        inner = def.in as z.core.$ZodTypes;
        break;
      case "lazy":
        inner = def.getter() as z.core.$ZodTypes;
        break;
      default:
        return inner;
    }
  }
}

/**
 * The schemas that may describe the value at a path: several under a union, of a discriminated one only those that the value
 * names. With `whole` a union at the path itself is one of them instead of its branches.
 */
export function schemasAt(schema: Type, value: unknown, path: Path, whole = false): z.core.$ZodTypes[] {
  const inner = unwrap(schema);
  const { def } = inner._zod;
  if (whole && path.length === 0) return [inner];
  if (def.type === "union") {
    const discriminator = "discriminator" in def ? (def.discriminator as string) : undefined;
    const named = isRecord(value) && discriminator !== undefined ? value[discriminator] : undefined;
    const fitting = def.options.filter((option) => {
      if (named === undefined) return true;
      return discriminated(option, discriminator!)?.has(named as string) ?? true;
    });
    return (fitting.length > 0 ? fitting : def.options).flatMap((option) => schemasAt(option, value, path, whole));
  }
  if (def.type === "intersection") return [def.left, def.right].flatMap((side) => schemasAt(side, value, path, whole));

  const [part, ...rest] = path;
  if (part === undefined) return [inner];
  const below = isRecord(value) || Array.isArray(value) ? (value as Record<string, unknown>)[part] : undefined;
  const next =
    def.type === "object"
      ? Object.hasOwn(def.shape, part)
        ? def.shape[String(part)]
        : def.catchall
      : def.type === "record"
        ? def.valueType
        : def.type === "array"
          ? def.element
          : def.type === "tuple"
            ? (def.items[Number(part)] ?? def.rest)
            : undefined;
  return next ? schemasAt(next, below, rest, whole) : [];
}

/** Keys that the mapping at a path may have. */
export function keysAt(schema: Type, value: unknown, path: Path): string[] {
  const keys = schemasAt(schema, value, path).flatMap(({ _zod: { def } }) => {
    if (def.type === "object") return Object.keys(def.shape);
    return def.type === "record" ? [...(def.keyType._zod.values ?? [])].map(String) : [];
  });
  return [...new Set(keys)];
}

/** The branches of the union without a discriminator that the value at a path has to fit; undefined where there is none. */
export function branchesAt(schema: Type, value: unknown, path: Path): readonly Type[] | undefined {
  for (const {
    _zod: { def },
  } of schemasAt(schema, value, path, true))
    if (def.type === "union" && !("discriminator" in def)) return def.options;
  return undefined;
}

/** Whether the number at a path has to be a whole one. */
export function isWholeAt(schema: Type, value: unknown, path: Path): boolean {
  return schemasAt(schema, value, path).some(
    ({ _zod: { def } }) => def.type === "number" && "format" in def && String(def.format).includes("int"),
  );
}

function discriminated(option: Type, key: string): Set<unknown> | undefined {
  const { def } = unwrap(option)._zod;
  return def.type === "object" && def.shape[key] ? (def.shape[key]._zod.values as Set<unknown> | undefined) : undefined;
}

/** The plain value at a path, `undefined` where there is none. */
export function valueAt(value: unknown, path: Path): unknown {
  return path.reduce<unknown>((inner, part) => {
    if (Array.isArray(inner)) return inner[Number(part)];
    return isRecord(inner) && Object.hasOwn(inner, part) ? inner[String(part)] : undefined;
  }, value);
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
