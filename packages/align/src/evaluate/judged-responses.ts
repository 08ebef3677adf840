import { citedIn, type ResponseRow } from "@tenet/data";
import { type Constitution, runChecks } from "../constitution/index.ts";
import type { JudgedResponse } from "./adherence.ts";

/** Replies with what the checks say of them and, of who reasons before replying, whether a principle is cited. */
export function judgedResponses(constitution: Constitution, rows: readonly ResponseRow[]): JudgedResponse[] {
  const ids = new Set(constitution.principles.map(({ id }) => id));
  const reasons = rows.some(({ reasoning }) => reasoning !== undefined);
  return rows.map((row) => ({
    row,
    verdicts: runChecks(constitution, row),
    ...(reasons && { cites: row.reasoning !== undefined && citedIn(row.reasoning, ids).length > 0 }),
  }));
}
