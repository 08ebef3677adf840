import { type Outcome, type PairRow, type PreferenceRow, pairContent, plainJson, rowId } from "@tenet/data";
import { type Constitution, checkReward, constitutionHash, runChecks, violations } from "../constitution/index.ts";

/**
 * Labels by the constitution's checks alone: the response with the higher R_const (METHODS §6) is preferred with p = 1, since a
 * check is sure. A pair that the checks cannot tell apart is set aside: who has not been audited is not asked in their place.
 *
 * Yields one outcome per pair. Errors: those of checks in modules.
 */
export async function* labelByChecks(
  rows: readonly PairRow[],
  { constitution }: { readonly constitution: Constitution },
): AsyncGenerator<Outcome<PreferenceRow>> {
  const hash = constitutionHash(constitution);
  const judge = ({ prompt, category }: PairRow, response: string) => {
    const results = runChecks(constitution, { prompt, response, category });
    const found = violations(results).violated.map(({ principle, severity, why }) => ({ principle, severity, why }));
    return { worth: checkReward(constitution, results), found };
  };
  for (const pair of rows) {
    const { id, prompt, a, b, origin } = pair;
    const [first, second] = [judge(pair, a), judge(pair, b)];
    if (first.worth === second.worth) {
      yield { input: id, rows: [], aside: "the checks cannot tell the responses apart" };
      continue;
    }
    const p = first.worth > second.worth ? 1 : 0;
    const worth = { a: first.worth, b: second.worth };
    const row: PreferenceRow = {
      id: rowId("preference", prompt, a, b, p, "check"),
      ...pairContent(pair),
      p,
      weight: 1,
      label: "check",
      explanation: plainJson([
        { step: "checks", worth, a: first.found, b: second.found },
      ]) as PreferenceRow["explanation"],
      origin: { ...origin, constitution: hash, parents: [id] },
    };
    yield { input: id, rows: [row] };
  }
}
