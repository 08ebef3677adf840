import { basename } from "node:path";
import { likenessTo, type PromptRow } from "@tenet/data";
import type { PartContext } from "../context.ts";
import type { DatasetReference } from "../recipe.ts";
import { countRows } from "../sizes.ts";
import { rowsStage, type Stage, type StageContext } from "../stages/index.ts";
import type { StoredRows } from "../values.ts";
import { readingOf } from "./files.ts";

/*
 * What is measured on must not be what was trained on: such prompts flatter every figure.
 */

type WithPrompt = Pick<PromptRow, "id" | "origin" | "prompt">;

/** Rows that something is learnt from, or chosen by. */
export type Learnt = Stage<StoredRows<WithPrompt>>;

/** From this likeness on a prompt is taken for another one's wording: as a rule a word more, a letter less. */
export const nearlySame = 0.7;

/** What the person says in a conversation. */
export function askedIn({ prompt }: Pick<PromptRow, "prompt">): string {
  return prompt
    .filter(({ role }) => role === "user")
    .map(({ content }) => content)
    .join("\n");
}

/** Of the held-out prompts those that were learnt from too, by their place, each with the reason for which it does not count. */
export function learntFrom(
  heldOut: readonly Pick<PromptRow, "prompt">[],
  learnt: Iterable<WithPrompt>,
): ReadonlyMap<number, string> {
  const likest = new Map<number, { reason: string; similarity: number }>();
  const like = likenessTo(heldOut.map(askedIn), { threshold: nearlySame });
  for (const row of learnt)
    for (const { index, similarity } of like(askedIn(row))) {
      if (similarity <= (likest.get(index)?.similarity ?? 0)) continue;
      const [own, other] = [heldOut[index]!, row].map(({ prompt }) => JSON.stringify(prompt));
      const how =
        own === other
          ? "it is also trained on"
          : similarity === 1
            ? "it is also trained on, but for case, punctuation and white space"
            : `it is nearly the same as one that is trained on (likeness ${similarity.toFixed(2)})`;
      likest.set(index, { similarity, reason: `${how}: ${row.origin.source ?? row.id}` });
    }
  return new Map([...likest].map(([index, { reason }]) => [index, reason]));
}

/** Whether a held-out prompt was set aside for this reason because it is learnt from. */
export function wasLearntFrom(reason: string): boolean {
  return /^it is (also|nearly the same as one that is) trained on/.test(reason);
}

/** What is said of held-out prompts that were learnt from. */
export function learntFromText(found: number, of: number): string {
  const left = found === of ? ", and none is left to measure on" : "";
  return `${found} of ${of} held-out prompts are also trained on and measure nothing: they are left out${left}. Take them out of one of the files`;
}

/** The held-out prompts of a file but for those that are learnt from: they are set aside, with the reason, and nothing is measured on them. */
export function heldOutStage(
  { recipe: { seed } }: PartContext,
  { reference, learnt }: { readonly reference: DatasetReference; readonly learnt: readonly Learnt[] },
): Stage<StoredRows<PromptRow>> {
  const reading = readingOf(reference, "prompts");
  const found = async (context: StageContext) => {
    const made = [];
    for await (const one of reading.make({ emit: () => {} }, "held-out")) made.push(one);
    const rows = made.flatMap((one) => ("row" in one ? [one.row] : []));
    const rowsLearnt = function* () {
      for (const stage of learnt) yield* context.value(stage).rows();
    };
    const leaks = learntFrom(rows, rowsLearnt());
    return new Map([...leaks].map(([index, reason]) => [rows[index]!.id, { reason, of: rows.length }]));
  };
  return rowsStage<PromptRow>({
    name: "held-out",
    title: `held-out prompts from ${basename(reading.path)}`,
    kind: "read-prompts",
    version: 1,
    seed,
    expect: () => countRows(reference, "prompts"),
    behind: learnt,
    async settings(context) {
      const leaks = await found(context);
      const without = leaks.size > 0 ? [Object.fromEntries([...leaks].map(([id, { reason }]) => [id, reason]))] : [];
      return [...(await reading.settings()), ...without];
    },
    async *make(context) {
      const leaks = await found(context);
      for await (const one of reading.make(context, "held-out")) {
        const leak = "row" in one ? leaks.get(one.row.id) : undefined;
        if ("row" in one && leak) yield { aside: { input: one.row.origin.source ?? one.row.id, reason: leak.reason } };
        else yield one;
      }
      const [first] = leaks.values();
      if (first)
        context.emit({
          type: "message",
          stage: "held-out",
          level: "warning",
          message: learntFromText(leaks.size, first.of),
        });
    },
  });
}
