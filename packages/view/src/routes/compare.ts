import { diffRuns } from "@tenet/align";
import { rateDifference } from "@tenet/data";
import type { RunInfo } from "@tenet/runs";
import { Hono } from "hono";
import { z } from "zod";
import {
  type Compare,
  type CompareSamples,
  compareShows,
  type Figure,
  type Reply,
  type RunsSamplesShow,
} from "../api.ts";
import { cardOf, figure } from "../cards.ts";
import { runNamed, type ViewContext } from "../context.ts";
import { RequestError } from "../errors.ts";
import { finite } from "../finite.ts";
import { checkpointStages, pagesOf, samplesAmong } from "../samples.ts";

/** Runs that are compared at once. */
const mostRuns = 8;

const runsSchema = z
  .string()
  .transform((text) => text.split(",").filter(Boolean))
  .pipe(z.array(z.string()).min(2).max(mostRuns));
const samplesSchema = z.object({
  runs: runsSchema,
  checkpoint: z.string(),
  show: z.enum(compareShows).default("all"),
  after: z.coerce.number().int().min(-1).default(-1),
  limit: z.coerce.number().int().min(1).max(100).default(20),
});

/** Several runs beside the first, which the others are compared with. */
export function compareRoutes(context: ViewContext): Hono {
  const routes = new Hono();
  const runsOf = (names: readonly string[]) => {
    const runs = names.map((name) => runNamed(context, name));
    if (new Set(runs.map(({ id }) => id)).size < runs.length) throw new RequestError("the same run stands there twice");
    return runs;
  };

  routes.get("/compare", async (c) => {
    const { runs: names } = z.object({ runs: runsSchema }).parse(c.req.query());
    return c.json<Compare>(await compared(context, runsOf(names)));
  });

  /** The same prompt answered by the same checkpoint of each run. */
  routes.get("/compare/samples", async (c) => {
    const { runs: names, checkpoint, show, after, limit } = samplesSchema.parse(c.req.query());
    const runs = runsOf(names);
    if (!sameQuestions(context, runs)) return c.json<CompareSamples>({ same: false, samples: [], scanned: 0 });
    const stages = runs.flatMap(({ id }) => {
      const found = checkpointStages(context.store, id).find((one) => one.id === checkpoint);
      return found ? [{ ...found, id }] : [];
    });
    // The first run's constitution judges all: it is the same, or they would not be compared.
    const filter = { show: shows[show] };
    const found = await samplesAmong(context, runs[0]!, stages, filter, { after, limit });
    return c.json<CompareSamples>({ same: true, ...found });
  });
  return routes;
}

/** As the filters of replies name it, where the first checkpoint is here the first run. */
const shows: Record<RunsSamplesShow, "all" | "different" | "regressed" | "fixed"> = {
  all: "all",
  different: "different",
  worse: "regressed",
  better: "fixed",
};

async function compared(context: ViewContext, runs: readonly RunInfo[]): Promise<Compare> {
  const { store } = context;
  const [base, ...others] = runs as [RunInfo, ...RunInfo[]];
  const diffs = await Promise.all(others.map((other) => diffRuns(store, base.id, other.id)));
  const settings = new Map<string, (string | null)[]>();
  for (const [i, diff] of diffs.entries())
    for (const { setting, a, b } of diff.settings) {
      // Where another differs, who is not named is as the first.
      const values = settings.get(setting) ?? runs.map(() => text(a));
      values[i + 1] = text(b);
      settings.set(setting, values);
    }
  const stages = new Map<string, Compare["stages"][number]["states"]>();
  for (const [i, diff] of diffs.entries())
    for (const { stage, state } of diff.stages) {
      const states = stages.get(stage) ?? runs.map(() => "absent" as const);
      if (state !== "only b") states[0] = "base";
      if (state !== "only a") states[i + 1] = state === "shared" ? "shared" : "differs";
      stages.set(stage, states);
    }
  return {
    runs: runs.map(({ id }) => id),
    settings: [...settings].map(([setting, values]) => ({ setting, values })),
    stages: [...stages].map(([stage, states]) => ({ stage, states })),
    files: filesThatDiffer(context, runs),
    scores: scoresOf(context, runs),
    paired: [null, ...(await Promise.all(others.map((other) => pairedDifferences(context, base, other))))],
    principles: principlesOf(context, runs),
    constitutions: [
      null,
      ...diffs.map(({ constitution }) =>
        constitution
          ? {
              added: constitution.added.map(({ id }) => id),
              removed: constitution.removed.map(({ id }) => id),
              changed: constitution.changed.map(({ id, fields }) => ({ id, fields })),
            }
          : null,
      ),
    ],
  };
}

const text = (value: unknown) => (value === undefined ? null : JSON.stringify(value));

/** Stages that read a file, whose contents differ though the name may be the same. */
function filesThatDiffer({ store }: ViewContext, runs: readonly RunInfo[]): Compare["files"] {
  return ["prompts", "held-out"].flatMap((stage) => {
    const hashes = runs.map(({ id }) => store.stage(id, stage)?.dataset?.hash ?? null);
    return new Set(hashes).size > 1 ? [{ stage, hashes }] : [];
  });
}

function scoresOf({ store }: ViewContext, runs: readonly RunInfo[]): Compare["scores"] {
  const found = new Map<string, Compare["scores"][number]>();
  for (const [i, { id }] of runs.entries()) {
    const card = cardOf(store, id);
    const metrics = new Map(card?.metrics.map((metric) => [metric.name, metric]));
    const own = new Set(card?.checkpoints.map((one) => one.id));
    for (const row of card?.rows ?? []) {
      const metric = metrics.get(row.metric);
      if (!metric || !own.has(row.checkpoint)) continue;
      const { name, label, unit, change, better } = metric;
      const key = JSON.stringify([row.checkpoint, name]);
      const score = found.get(key) ?? {
        ...{ checkpoint: row.checkpoint, metric: name, label, unit, change, better },
        values: runs.map(() => null),
      };
      score.values[i] = figure(row);
      found.set(key, score);
    }
  }
  return [...found.values()];
}

/** Whether all were asked the same held-out prompts under the same constitution. */
function sameQuestions({ store, judge }: ViewContext, runs: readonly RunInfo[]): boolean {
  const asked = runs.map((run) => [store.stage(run.id, "held-out")?.dataset?.hash, judge.opened(run).hash]);
  return asked[0]![0] !== undefined && new Set(asked.map((one) => JSON.stringify(one))).size === 1;
}

/**
 * How the share of replies that break a principle changes from one run to the other, prompt by prompt, by the checks that each run
 * was opened with. Null where the two were not asked the same.
 */
async function pairedDifferences(
  context: ViewContext,
  a: RunInfo,
  b: RunInfo,
): Promise<({ checkpoint: string } & Figure)[] | null> {
  if (!sameQuestions(context, [a, b])) return null;
  const [before, after] = [await brokenByPrompt(context, a), await brokenByPrompt(context, b)];
  return [...before].flatMap(([checkpoint, first]) => {
    const second = after.get(checkpoint);
    const pairs = [...first].flatMap(([prompt, yes]) => {
      const other = second?.get(prompt);
      return other === undefined ? [] : [{ cluster: prompt, before: yes, after: other }];
    });
    return pairs.length === 0 ? [] : [{ checkpoint, ...finite(rateDifference(pairs, { seed: 0 })) }];
  });
}

async function brokenByPrompt(context: ViewContext, run: RunInfo): Promise<Map<string, Map<string, boolean>>> {
  const found = new Map<string, Map<string, boolean>>();
  for await (const { samples } of pagesOf(context, run, checkpointStages(context.store, run.id), -1))
    for (const { prompt, replies } of samples)
      for (const reply of replies) {
        const yes = breaks(reply);
        if (yes === undefined) continue;
        const own = found.get(reply.checkpoint) ?? new Map<string, boolean>();
        own.set(JSON.stringify(prompt), yes);
        found.set(reply.checkpoint, own);
      }
  return found;
}

const breaks = ({ verdicts }: Reply) =>
  verdicts && verdicts.length > 0 ? verdicts.some(({ violated }) => violated) : undefined;

function principlesOf({ store }: ViewContext, runs: readonly RunInfo[]): Compare["principles"] {
  const cells = new Map<string, Compare["principles"][number]>();
  for (const [i, { id }] of runs.entries())
    for (const one of cardOf(store, id)?.principles ?? []) {
      const { principle, checkpoint } = one;
      const key = JSON.stringify([principle, checkpoint]);
      const cell = cells.get(key) ?? { principle, checkpoint, values: runs.map(() => null) };
      cell.values[i] = figure(one);
      cells.set(key, cell);
    }
  return [...cells.values()];
}
