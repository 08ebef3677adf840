import { diffRuns } from "@tenet/align";
import { rateDifference } from "@tenet/data";
import type { RunInfo } from "@tenet/runs";
import { Hono } from "hono";
import { z } from "zod";
import type { Compare, Figure, Reply } from "../api.ts";
import { cardOf, figure } from "../cards.ts";
import { runNamed, type ViewContext } from "../context.ts";
import { finite } from "../review.ts";
import { checkpointStages, pagesOf } from "../samples.ts";

export function compareRoutes(context: ViewContext): Hono {
  const { store } = context;
  const routes = new Hono();
  routes.get("/compare", async (c) => {
    const asked = z.object({ a: z.string(), b: z.string() }).parse(c.req.query());
    const [a, b] = [runNamed(context, asked.a), runNamed(context, asked.b)];
    const { settings, stages, scores, constitution } = await diffRuns(store, a.id, b.id);
    const paired = await pairedDifferences(context, a, b);
    return c.json<Compare>({
      runs: [a.id, b.id],
      settings: settings.map((one) => ({ ...one })),
      stages: stages.map((one) => ({ ...one })),
      scores: scores.map(({ a: first, b: second, ...score }) => ({
        ...score,
        ...(first && { a: figure(first) }),
        ...(second && { b: figure(second) }),
      })),
      ...(paired && { paired }),
      principles: principlesOf(context, a.id, b.id),
      ...(constitution && {
        constitution: {
          added: constitution.added.map(({ id }) => id),
          removed: constitution.removed.map(({ id }) => id),
          changed: constitution.changed.map(({ id, fields }) => ({ id, fields })),
        },
      }),
    });
  });
  return routes;
}

/**
 * How the share of replies that break a principle changes from one run to the other, prompt by prompt, by the checks that each run
 * was opened with. Undefined where the two were not asked the same: other held-out prompts, or another constitution.
 */
async function pairedDifferences(
  context: ViewContext,
  a: RunInfo,
  b: RunInfo,
): Promise<NonNullable<Compare["paired"]> | undefined> {
  const { store, judge } = context;
  const hashes = [a, b].map(({ id }) => store.stage(id, "held-out")?.dataset?.hash);
  if (hashes[0] === undefined || hashes[0] !== hashes[1]) return undefined;
  if (judge.opened(a).hash !== judge.opened(b).hash) return undefined;
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

function principlesOf({ store }: ViewContext, a: string, b: string): Compare["principles"] {
  const cells = new Map<string, { a?: Figure; b?: Figure }>();
  for (const [side, run] of [
    ["a", a],
    ["b", b],
  ] as const)
    for (const one of cardOf(store, run)?.principles ?? []) {
      const key = JSON.stringify([one.principle, one.checkpoint]);
      cells.set(key, { ...cells.get(key), [side]: figure(one) });
    }
  return [...cells].map(([key, cell]) => {
    const [principle, checkpoint] = JSON.parse(key) as [string, string];
    return { principle, checkpoint, ...cell };
  });
}
