import { type PreferenceRow, rowId } from "@tenet/data";
import { type Constitution, constitutionHash } from "../constitution/index.ts";

/** What the rows name as their source. */
export const exampleSource = "examples of the constitution";

/**
 * The examples of a constitution as pairs with a known answer: each good reply beside each bad one, the good one preferred, under the
 * principle that they are an example of (`origin.principles`). What labels are worth can be said on them. Principles of weight 0, and
 * those that are for revision only, ask no such question.
 */
export function knownExamples(constitution: Constitution): PreferenceRow[] {
  const hash = constitutionHash(constitution);
  return constitution.principles.flatMap(({ id, use, weight, examples = [] }) =>
    use === "revision" || weight === 0
      ? []
      : examples.flatMap(({ prompt, good, bad }) =>
          good.flatMap((a) =>
            bad
              .filter((b) => a.trim() !== b.trim() && prompt.at(-1)?.role === "user")
              .map((b): PreferenceRow => {
                return {
                  id: rowId("preference", prompt, a, b, 1, "human", id),
                  ...{ prompt, a, b, p: 1, weight: 1, label: "human" },
                  explanation: [{ step: "example", principle: id }],
                  origin: { source: exampleSource, constitution: hash, principles: [id], parents: [] },
                };
              }),
          ),
        ),
  );
}
