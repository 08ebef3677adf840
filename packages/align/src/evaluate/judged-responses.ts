import { citedIn, type ResponseRow } from "@tenet/data";
import { type Constitution, runChecks, violations } from "../constitution/index.ts";
import type { JudgedResponse } from "./adherence.ts";

/**
 * Replies with what the checks say of them and, of who reasons before replying, whether a principle is cited.
 * @param unseen checks that nothing else runs
 */
export function judgedResponses(
  constitution: Constitution,
  rows: readonly ResponseRow[],
  unseen?: Constitution,
): JudgedResponse[] {
  const ids = new Set(constitution.principles.map(({ id }) => id));
  const reasons = rows.some(({ reasoning }) => reasoning !== undefined);
  const breaksUnseen = (row: ResponseRow) => {
    const { applying, violated } = violations(unseen ? runChecks(unseen, row) : []);
    return applying > 0 && { breaksUnseen: violated.length > 0 };
  };
  return rows.map((row) => ({
    row,
    ...breaksUnseen(row),
    verdicts: runChecks(constitution, row),
    ...(reasons && { cites: row.reasoning !== undefined && citedIn(row.reasoning, ids).length > 0 }),
  }));
}
