import { createHash } from "node:crypto";
import { asAsked, authorityWeight } from "./authority.ts";
import type { Constitution, Principle } from "./schema.ts";

/**
 * A constitution's identity: the SHA-256 (hexadecimal) of its canonical form, which is its name, version and principles by
 * id, requests and defaults filled in. Order, layout, comments, description and the format of the file do not count.
 */
export function constitutionHash({ name, version, principles }: Constitution): string {
  const sorted = principles.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  return hash({ name, version, principles: sorted });
}

/**
 * The identity (as of `constitutionHash`) of a constitution that models are asked about or told of: where a level of authority bears on a
 * principle, how it is asked and what its breach weighs are part of it.
 */
export function askedHash(constitution: Constitution): string {
  const levels = constitution.principles
    .filter((principle) => asAsked(principle) !== principle.text || authorityWeight(principle) !== 1)
    .map((principle): [string, string, number] => [principle.id, asAsked(principle), authorityWeight(principle)])
    .sort(([a], [b]) => (a < b ? -1 : 1));
  const own = constitutionHash(constitution);
  return levels.length === 0 ? own : hash({ constitution: own, levels });
}

/** The SHA-256 (hexadecimal) of one principle: changes with anything in it, and with nothing else. */
export function principleHash(principle: Principle): string {
  return hash(principle);
}

export interface ConstitutionDiff {
  added: Principle[];
  removed: Principle[];
  /** Principles of one id that differ, with the names of the fields that do. */
  changed: { id: string; fields: string[]; before: Principle; after: Principle }[];
}

/** What became of the principles between two versions, by id. Names, versions and order are not compared. */
export function diffConstitutions(before: Constitution, after: Constitution): ConstitutionDiff {
  const earlier = new Map(before.principles.map((principle) => [principle.id, principle]));
  const later = new Map(after.principles.map((principle) => [principle.id, principle]));
  return {
    added: after.principles.filter(({ id }) => !earlier.has(id)),
    removed: before.principles.filter(({ id }) => !later.has(id)),
    changed: before.principles.flatMap((principle) => {
      const other = later.get(principle.id);
      if (!other) return [];
      const fields = fieldNames.filter((field) => canonical(principle[field]) !== canonical(other[field]));
      return fields.length > 0 ? [{ id: principle.id, fields, before: principle, after: other }] : [];
    }),
  };
}

const fieldNames = [
  "text",
  "critiqueRequest",
  "revisionRequest",
  "preferenceQuestion",
  "negation",
  "rubric",
  "weight",
  "use",
  "authority",
  "tags",
  "examples",
  "category",
  "source",
  "checks",
] as const satisfies readonly Exclude<keyof Principle, "id">[];

function hash(value: unknown): string {
  return createHash("sha256").update(canonical(value)).digest("hex");
}

/** JSON with sorted keys; what JSON does not know (absent values, functions) is left out. */
function canonical(value: unknown): string {
  const text = JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
  return text ?? "";
}
