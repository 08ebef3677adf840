import {
  type Alarm,
  type IterationMetrics,
  type MetricEvent,
  monitorRules,
  type PolicyResult,
  taughtNothing,
} from "@tenet/train";
import type { StageContext } from "./stages/index.ts";

/** A policy's result with what the monitors' rules found in its iterations. */
export type WatchedResult = Omit<PolicyResult, "report"> & {
  readonly report: PolicyResult["report"] & { readonly alarms: readonly Alarm[] };
};

/**
 * Passes a policy's training on, and tells each alarm of the monitors' rules when it sounds. What a continued training had told
 * before it was stopped is not told again; the report holds all alarms of all iterations.
 */
export async function* withAlarms(
  training: AsyncGenerator<MetricEvent, PolicyResult>,
  { emit }: Pick<StageContext, "emit">,
  stage: string,
): AsyncGenerator<MetricEvent, WatchedResult> {
  const seen: MetricEvent["metrics"][] = [];
  let told = 0;
  for (let next = await training.next(); ; next = await training.next()) {
    if (next.done)
      return { ...next.value, report: { ...next.value.report, alarms: monitorRules(next.value.report.history) } };
    yield next.value;
    if (next.value.step === 0) continue;
    seen.push(next.value.metrics);
    const alarms = monitorRules(seen);
    for (const alarm of alarms.slice(told))
      emit({ type: "message", stage, level: "warning", message: alarmText(alarm) });
    told = alarms.length;
  }
}

/** An alarm in words: the rule, when, what was seen. */
export function alarmText({ rule, iteration, message }: Alarm): string {
  return `${rule}, iteration ${iteration}: ${message}. Look at the replies of this training before you trust its result`;
}

/** The alarms that a trained model's report holds, in words; none of one whose training had no iterations. */
export function alarmsOf(report: unknown): string[] {
  const { alarms = [] } = (report ?? {}) as { alarms?: readonly Alarm[] };
  return alarms.map(alarmText);
}

/** Why a trained model's figures measure nothing of its training; undefined where they may. */
export function taughtNothingText(report: unknown): string | undefined {
  const { history = [] } = (report ?? {}) as { history?: readonly IterationMetrics[] };
  if (history.length === 0 || !history.every(taughtNothing)) return undefined;
  return `was taught nothing: in all ${history.length} iterations of its training the rewards were equal`;
}
