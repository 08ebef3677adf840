import { quantile } from "@tenet/data";
import { canonicalJson, type RunInfo, type StageInfo } from "@tenet/runs";
import type { TimeLeft } from "./api.ts";
import type { ViewContext } from "./context.ts";
import { planOf } from "./plan.ts";
import type { Planned } from "./planned.ts";
import { progressOf } from "./progress.ts";

/** Earlier runs whose stages are looked at, the latest first. */
const mostRuns = 8;
/** Below it a stage's time says nothing of how fast the machine is. Seconds. */
const leastSeconds = 2;

/** What of a stage counts here. */
export type Took = Pick<StageInfo, "name" | "status" | "attempts" | "seconds">;

export interface Earlier {
  readonly run: string;
  readonly stages: readonly Took[];
  /** Names of the stages that it set out to execute. */
  readonly planned: readonly string[];
}

/**
 * How long the stages of a plan take that are not done yet, by what stages of the same names took in earlier runs. Each of them gives an
 * estimate, stretched by how fast the stages that are done went against its own, since a machine is not always as fast; their median is
 * told.
 *
 * `current`: seconds left of the stage that is under way, where its own progress tells. `earlier`: the latest first. Undefined where none
 * is given.
 */
export function timeLeftOf(
  plan: readonly Planned[],
  own: readonly (Took & { readonly current?: number | undefined })[],
  earlier: readonly Earlier[],
): TimeLeft | undefined {
  const [like] = earlier;
  if (!like) return undefined;
  const each = earlier.map(({ stages }) => timesOf(stages));
  // What one of them took over from another was timed there.
  const known = new Map(each.toReversed().flatMap((times) => [...times]));
  const begun = new Map(own.map((stage) => [stage.name, stage]));
  const left = plan.filter(({ stage }) => begun.get(stage)?.status !== "done");
  const done = timesOf(own);
  const estimates = each.map((times) => {
    let [now, then] = [0, 0];
    for (const [name, seconds] of done) {
      const before = times.get(name) ?? 0;
      if (Math.min(seconds, before) < leastSeconds) continue;
      now += seconds;
      then += before;
    }
    const stretch = then > 0 ? now / then : 1;
    return left.reduce((sum, { stage }) => {
      const one = begun.get(stage);
      if (one?.current !== undefined) return sum + one.current;
      const before = times.get(stage) ?? known.get(stage) ?? 0;
      return sum + Math.max(0, before * stretch - (one?.seconds ?? 0));
    }, 0);
  });
  const seen = new Set(earlier.flatMap(({ stages }) => stages.map(({ name }) => name)));
  const planned = new Set(earlier.flatMap((one) => one.planned));
  // What was planned before and left no trace had nothing to do; what was only ever taken over has a trace, and no time.
  const unknown = left.filter(
    ({ stage }) =>
      begun.get(stage)?.current === undefined && !known.has(stage) && (seen.has(stage) || !planned.has(stage)),
  );
  return {
    seconds: quantile(
      estimates.toSorted((a, b) => a - b),
      0.5,
    ),
    like: like.run,
    unknown: unknown.map(({ title }) => title),
  };
}

/** What stages took; of those that were taken over, or tried twice, that is not known. */
function timesOf(stages: readonly Took[]): Map<string, number> {
  return new Map(
    stages
      .filter(({ status, attempts }) => status === "done" && attempts === 1)
      .map(({ name, seconds }) => [name, seconds]),
  );
}

/** Of runs that are under way. */
export class TimesLeft {
  readonly #context: ViewContext;
  readonly #earlier = new Map<string, { readonly of: number; readonly runs: readonly RunInfo[] }>();

  constructor(context: ViewContext) {
    this.#context = context;
  }

  of(run: RunInfo): TimeLeft | undefined {
    const { store } = this.#context;
    const plan = planOf(this.#context, run.id);
    if (!plan) return undefined;
    const progress = new Map(store.progress(run.id).map((one) => [one.stage, progressOf(one)]));
    const own = store.stages(run.id).map(({ name, status, attempts, seconds, started }) => {
      const isNow = status === "running";
      const spent = isNow ? Math.max(0, (Date.now() - Date.parse(started)) / 1000) : seconds;
      return { name, status, attempts, seconds: spent, current: isNow ? progress.get(name)?.secondsLeft : undefined };
    });
    const earlier = this.#likeIt(run).map(({ id }) => ({
      run: id,
      stages: store.stages(id),
      planned: (planOf(this.#context, id) ?? []).map(({ stage }) => stage),
    }));
    return timeLeftOf(plan, own, earlier);
  }

  /** Runs that this machine finished, of the same model on the same prompts: looked for again where there are more runs than before. */
  #likeIt(run: RunInfo): readonly RunInfo[] {
    const { store } = this.#context;
    const of = store.runIds().length;
    const known = this.#earlier.get(run.id);
    if (known?.of === of) return known.runs;
    const key = likenessOf(run);
    const runs = store
      .runs()
      .filter((one) => one.id !== run.id && one.status === "done" && likenessOf(one) === key)
      .slice(0, mostRuns);
    this.#earlier.set(run.id, { of, runs });
    return runs;
  }
}

function likenessOf({ recipe, writer, name }: RunInfo): string {
  const { model = null, prompts = null, engine = null } = (recipe ?? {}) as Record<string, unknown>;
  return canonicalJson([writer?.host ?? null, name, model, prompts, engine]);
}
