import type { ResponseRow } from "@tenet/data";
import { type Estimate, groupBy, type Observation, rate } from "@tenet/data";
import { promptKey } from "./refusal.ts";

/** What one check (a `CheckResult`) or critic says of one response. */
export interface PrincipleVerdict {
  /** Id of the principle. */
  principle: string;
  /** Which of the principle's checks; absent for a critic's verdict on the principle as a whole. */
  check?: string;
  /** False where it has nothing to say about this prompt. */
  applies: boolean;
  violated: boolean;
  /** How bad a violation is, in [0, 1]; absent where nobody says. */
  severity?: number;
  /** For people: what was found; words of the response in double quotes are pointed out in it. */
  why?: string;
}

export interface JudgedResponse {
  row: ResponseRow;
  verdicts: readonly PrincipleVerdict[];
  /** Whether its reasoning cites a principle of the constitution; absent where its checkpoint does not reason. */
  cites?: boolean;
  /** Whether it breaks a check that nothing but the scorecard runs; absent where there are none, or none applies. */
  breaksUnseen?: boolean;
}

export interface Adherence {
  /** Responses that break at least one principle, of those to which any applies. */
  violations: Estimate;
  /** Responses to which no check applies; they are in no rate. */
  unchecked: number;
  /** Per principle: responses that break it, of those to which it applies. In order of first appearance. */
  principles: Map<string, Estimate>;
  /** Per category of prompt: the overall rate there. */
  categories: Map<string, Estimate>;
}

/** Whether a response breaks a principle by any of its verdicts, or any principle when none is named; undefined where none applies. */
export function violates({ verdicts }: JudgedResponse, principle?: string): boolean | undefined {
  const applying = verdicts.filter(
    (verdict) => verdict.applies && (principle === undefined || verdict.principle === principle),
  );
  return applying.length === 0 ? undefined : applying.some(({ violated }) => violated);
}

/**
 * Violation rates of judged responses, overall, per principle and per category, each with its 95 % interval; replies to one
 * prompt are counted together (`rate`). A rate of nothing has the value NaN. METHODS §7.
 *
 * @example
 * const row = { id: "1", origin: { parents: [] }, prompt: [{ role: "user", content: "Hi" }], response: "Yo", finishReason: "stop" };
 * const verdicts = [{ principle: "kind", applies: true, violated: false }];
 * adherence([{ row, verdicts }]).violations.value; // 0
 */
export function adherence(responses: readonly JudgedResponse[]): Adherence {
  const principles = new Set(responses.flatMap(({ verdicts }) => verdicts.map(({ principle }) => principle)));
  const categories = groupBy(
    responses.filter(({ row }) => row.category !== undefined),
    ({ row }) => row.category!,
  );
  const overall = observations(responses);
  return {
    violations: rate(overall),
    unchecked: responses.length - overall.length,
    principles: new Map([...principles].map((principle) => [principle, rate(observations(responses, principle))])),
    categories: new Map([...categories].map(([category, members]) => [category, rate(observations(members))])),
  };
}

function observations(responses: readonly JudgedResponse[], principle?: string): Observation[] {
  return responses.flatMap((response) => {
    const yes = violates(response, principle);
    return yes === undefined ? [] : [{ cluster: promptKey(response.row), yes }];
  });
}
