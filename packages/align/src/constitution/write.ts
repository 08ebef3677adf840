import { stringify } from "yaml";
import type { ConstitutionDocument } from "./schema.ts";

/** Fields whose value says nothing that their absence would not. */
const usual = { use: "both", weight: 1 } as const;

/**
 * A constitution as a YAML file that `parseConstitution` reads back to the same: defaults are left out, and `heading` stands above it as
 * comments.
 */
export function constitutionText(
  document: ConstitutionDocument,
  { heading = [] }: { heading?: readonly string[] } = {},
) {
  const principles = document.principles.map((principle) =>
    Object.fromEntries(
      Object.entries(principle).filter(
        ([key, value]) =>
          value !== undefined &&
          !(Array.isArray(value) && value.length === 0) &&
          value !== usual[key as keyof typeof usual],
      ),
    ),
  );
  const comments = heading.map((line) => `# ${line.replaceAll(/\s+/g, " ")}\n`).join("");
  return `${comments}${stringify({ ...document, principles }, { lineWidth: 120 })}`;
}
