// What the checks of constitutions/clinical-desk.yaml, and those that training never sees, are worth against a reader's labels: prints the
// tables of docs/results.md.
// Run: npx tsx --conditions=source scripts/check-worth.ts
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadConstitution, runChecks, violations } from "@tenet/align";
import { type Estimate, wilson } from "@tenet/data";
import { z } from "zod";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const labels = join(root, "packages/align/src/constitution/clinical-desk.labels.jsonl");

/** A reply of our own model, and the principles that a reader finds violated in it. */
export const labelSchema = z.strictObject({
  checkpoint: z.enum(["base", "sl", "rl"]),
  prompt: z.string().min(1),
  reply: z.string().min(1),
  violates: z.array(z.string()),
});

const promptSchema = z.looseObject({ prompt: z.string(), category: z.string() });

/** What the checks of one principle find, against the reader. */
export interface Worth {
  readonly principle: string;
  /** Replies in which the reader finds the principle violated. */
  readonly labelled: number;
  /** Replies in which its checks do. */
  readonly found: number;
  /** Of the replies that the checks find, those that the reader does too; NaN of none. */
  readonly precision: Estimate;
  /** Of the replies that the reader finds, those that the checks do too; NaN of none. */
  readonly recall: Estimate;
}

/**
 * The worth of every principle's checks, with Wilson's 95 % intervals; the principles that no label speaks of are left out.
 * @param file in constitutions/
 */
export async function checkWorth(file = "clinical-desk.yaml"): Promise<{ replies: number; worth: Worth[] }> {
  const constitution = await loadConstitution(join(root, "constitutions", file));
  const categoryOf = new Map(
    readFileSync(join(root, "prompts/clinical/development.jsonl"), "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => promptSchema.parse(JSON.parse(line)))
      .map(({ prompt, category }) => [prompt, category]),
  );
  const rows = readFileSync(labels, "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => labelSchema.parse(JSON.parse(line)))
    .map(({ prompt, reply, violates }) => {
      const results = runChecks(constitution, {
        prompt: [{ role: "user", content: prompt }],
        response: reply,
        category: categoryOf.get(prompt),
      });
      return { labelled: new Set(violates), found: new Set(violations(results).principles) };
    });
  const worth = constitution.principles
    .map(({ id }) => id)
    .filter((id) => rows.some(({ labelled }) => labelled.has(id)))
    .map((principle) => {
      const count = (of: (row: (typeof rows)[number]) => boolean) => rows.filter(of).length;
      const labelled = count((row) => row.labelled.has(principle));
      const found = count((row) => row.found.has(principle));
      const both = count((row) => row.labelled.has(principle) && row.found.has(principle));
      return { principle, labelled, found, precision: wilson(both, found), recall: wilson(both, labelled) };
    });
  return { replies: rows.length, worth };
}

/** The table, in Markdown. */
export function worthTable(worth: readonly Worth[]): string {
  const share = ({ value, interval, n }: Estimate) =>
    n === 0 ? "of none" : `${value.toFixed(2)} (${interval[0].toFixed(2)}–${interval[1].toFixed(2)})`;
  return [
    "| principle | violated, says the reader | found by checks | precision | recall |",
    "|---|---|---|---|---|",
    ...worth.map(
      ({ principle, labelled, found, precision, recall }) =>
        `| ${principle} | ${labelled} | ${found} | ${share(precision)} | ${share(recall)} |`,
    ),
  ].join("\n");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { replies, worth } = await checkWorth();
  console.log(`${replies} replies\n\n${worthTable(worth)}`);
  const unseen = await checkWorth("clinical-desk.unseen.yaml");
  console.log(`\nChecks that training never sees\n\n${worthTable(unseen.worth)}`);
}
