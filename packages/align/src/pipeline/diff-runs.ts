import type { Store } from "@tenet/runs";
import { type Constitution, type ConstitutionDiff, diffConstitutions } from "../constitution/index.ts";
import { parseScorecard, type Scorecard } from "../evaluate/index.ts";
import { openedOf } from "./checkpoints.ts";

/** How two runs differ. */
export interface RunDiff {
  readonly runs: readonly [string, string];
  /** Settings that differ, by their place in the recipe; absent where only one run has them. */
  readonly settings: readonly { readonly setting: string; readonly a?: unknown; readonly b?: unknown }[];
  /** Of the constitutions that the runs were last opened with; absent where a run does not say. */
  readonly constitution?: ConstitutionDiff;
  /** In the order of the first run, then of the second. `shared`: one result serves both. */
  readonly stages: readonly { readonly stage: string; readonly state: "shared" | "differs" | "only a" | "only b" }[];
  /** Measures of checkpoints that both scorecards have, or one of them. */
  readonly scores: readonly {
    readonly checkpoint: string;
    readonly metric: string;
    readonly label: string;
    readonly unit: Scorecard["metrics"][number]["unit"];
    readonly a?: Score;
    readonly b?: Score;
  }[];
}

type Score = Pick<Scorecard["rows"][number], "value" | "interval" | "n">;

/** What differs between two runs of a store. Errors: NotInStoreError; ScorecardError for one of another version. */
export async function diffRuns(store: Store, a: string, b: string): Promise<RunDiff> {
  const constitutions = [await openedOf(store, a), await openedOf(store, b)].map(
    (opened) => opened?.constitution as Constitution | undefined,
  );
  const [before, after] = constitutions;
  return {
    runs: [a, b],
    settings: settingsOf(store.run(a).recipe, store.run(b).recipe),
    ...(before && after && { constitution: diffConstitutions(before, after) }),
    stages: stagesOf(store, a, b),
    scores: scoresOf(store, a, b),
  };
}

function settingsOf(a: unknown, b: unknown): RunDiff["settings"] {
  const [left, right] = [new Map(leaves(a)), new Map(leaves(b))];
  return [...new Set([...left.keys(), ...right.keys()])].flatMap((setting) => {
    const [one, other] = [left.get(setting), right.get(setting)];
    if (JSON.stringify(one) === JSON.stringify(other)) return [];
    return [{ setting, ...(one !== undefined && { a: one }), ...(other !== undefined && { b: other }) }];
  });
}

/** Values at the ends of an object, each under its path; lists are values. */
function leaves(value: unknown, path: readonly string[] = []): [string, unknown][] {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return [[path.join("."), value]];
  return Object.entries(value).flatMap(([key, inner]) => leaves(inner, [...path, key]));
}

function stagesOf(store: Store, a: string, b: string): RunDiff["stages"] {
  const [left, right] = [a, b].map((run) => new Map(store.stages(run).map(({ name, identity }) => [name, identity])));
  return [...new Set([...left!.keys(), ...right!.keys()])].map((stage) => {
    const [one, other] = [left!.get(stage), right!.get(stage)];
    if (one === undefined) return { stage, state: "only b" };
    if (other === undefined) return { stage, state: "only a" };
    return { stage, state: one === other ? "shared" : "differs" };
  });
}

function scoresOf(store: Store, a: string, b: string): RunDiff["scores"] {
  const cards = [a, b].map((run) => {
    const output = store.stage(run, "scorecard")?.output;
    return output === undefined ? undefined : parseScorecard(JSON.stringify(output));
  });
  const of = (card: Scorecard | undefined, checkpoint: string, metric: string): Score | undefined => {
    const row = card?.rows.find((one) => one.checkpoint === checkpoint && one.metric === metric);
    return row && { value: row.value, interval: row.interval, n: row.n };
  };
  const checkpoints = new Set(cards.flatMap((card) => card?.checkpoints.map(({ id }) => id) ?? []));
  const metrics = new Map(cards.flatMap((card) => card?.metrics.map((metric) => [metric.name, metric] as const) ?? []));
  return [...checkpoints].flatMap((checkpoint) =>
    [...metrics.values()].flatMap(({ name: metric, label, unit }) => {
      const [one, other] = [of(cards[0], checkpoint, metric), of(cards[1], checkpoint, metric)];
      if (!one && !other) return [];
      return [{ checkpoint, metric, label, unit, ...(one && { a: one }), ...(other && { b: other }) }];
    }),
  );
}
