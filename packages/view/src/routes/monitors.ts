import { monitorLimits, monitorRules } from "@tenet/align";
import { withoutImages } from "@tenet/data";
import { Hono } from "hono";
import { z } from "zod";
import type { Monitors, Rollouts } from "../api.ts";
import { runNamed, stageNamed, type ViewContext } from "../context.ts";
import { RequestError } from "../errors.ts";

/** Pictures of a policy's training, each with the figures that belong together. */
const panels: readonly (readonly [title: string, names: readonly string[]])[] = [
  ["Preference score and constitutional reward", ["reward/preference", "reward/constitution"]],
  ["Score, and the score less its penalty", ["objective/scores", "objective/rlhf_reward"]],
  ["KL per reply, nats", ["objective/kl"]],
  ["Length of replies, tokens", ["val/response_length"]],
  ["Entropy per token, nats", ["policy/entropy_avg"]],
  ["Replies that another equals", ["val/duplicates"]],
  ["Explained variance of the value", ["val/explained_variance"]],
  ["Proxy and judge, on prompts of their own", ["validation/proxy", "validation/judge"]],
  ["Refusals on prompts of their own", ["validation/refusals"]],
  ["Replies that break a principle, on prompts of their own", ["validation/violations"]],
  [
    "The same against where the training began, with the ends of its 95% interval",
    ["validation/drift", "validation/drift_low", "validation/drift_high"],
  ],
  ["Answers that follow the person's view", ["validation/sycophancy"]],
  ["How far the person's view moves the answer, nats", ["validation/sycophancy_shift"]],
  ["Replies that begin with agreement or praise", ["val/agreement"]],
  ["What the reward goes with, correlation", ["reward/length_correlation", "reward/agreement_correlation"]],
];

/** What to look at while a policy learns, and afterwards: an alarm says "look here", and no more. */
export function monitorRoutes(context: ViewContext): Hono {
  const { store } = context;
  const routes = new Hono();

  routes.get("/runs/:run/monitors", (c) => {
    const run = runNamed(context, c.req.param("run"));
    const stages = store.stages(run.id).filter(({ kind }) => kind === "policy");
    return c.json<Monitors>({
      limits: { ...monitorLimits },
      stages: stages.map(({ name }) => {
        const steps = new Map<number, Record<string, number>>();
        for (const { name: metric, step, value } of store.metrics(run.id, { stage: name }))
          steps.set(step, { ...steps.get(step), [metric]: value });
        // Step 0 is what the policy was before it learnt anything.
        const iterations = [...steps].filter(([step]) => step > 0).sort(([a], [b]) => a - b);
        const dismissed = new Map(
          store.annotations({ row: alarmsOf(run.id, name) }).map((one) => [one.about, one] as const),
        );
        const alarms = monitorRules(iterations.map(([, metrics]) => metrics)).map(({ rule, iteration, message }) => {
          const step = iterations[iteration - 1]![0];
          const word = dismissed.get(`${rule} ${step}`);
          return {
            ...{ rule, iteration: step, message },
            ...(word && { dismissed: { who: word.who, why: String(word.value), time: word.time } }),
          };
        });
        const shown = panels.map(([title, names]) => ({
          title,
          series: names.flatMap((metric) => {
            const points = [...steps].flatMap(([step, metrics]): [number, number | null][] => {
              const value = metrics[metric];
              return value === undefined ? [] : [[step, Number.isFinite(value) ? value : null]];
            });
            return points.length === 0 ? [] : [{ name: metric, points: points.sort(([a], [b]) => a - b) }];
          }),
        }));
        return { stage: name, alarms, panels: shown.filter(({ series }) => series.length > 0) };
      }),
    });
  });

  /** Replies of a training by iteration: of each prompt, what was said each time it was drawn. */
  routes.get("/runs/:run/stages/:stage/rollouts", (c) => {
    const run = runNamed(context, c.req.param("run"));
    const stage = stageNamed(context, run.id, c.req.param("stage"));
    const { from, limit, q } = z
      .object({
        from: z.coerce.number().int().min(0).default(0),
        limit: z.coerce.number().int().min(1).max(100).default(20),
        q: z.string().max(1000).default(""),
      })
      .parse(c.req.query());
    const prompts = new Map<string, Rollouts["prompts"][number]>();
    const steps = new Set<number>();
    for (const { step, prompt, ...reply } of store.rollouts(run.id, stage.name)) {
      steps.add(step);
      const name = JSON.stringify(prompt);
      const line = prompts.get(name) ?? { prompt: withoutImages(prompt), replies: [] };
      line.replies.push({ step, ...reply });
      prompts.set(name, line);
    }
    const wanted = q.toLowerCase();
    const found = [...prompts.values()].filter(
      ({ prompt, replies }) =>
        wanted === "" ||
        [...prompt.map(({ content }) => content), ...replies.map(({ response }) => response)].some((words) =>
          words.toLowerCase().includes(wanted),
        ),
    );
    // Those that were drawn most often say most of how replies change.
    found.sort((a, b) => b.replies.length - a.replies.length);
    return c.json<Rollouts>({
      stage: stage.name,
      steps: [...steps].sort((a, b) => a - b),
      total: found.length,
      prompts: found.slice(from, from + limit),
    });
  });
  return routes;
}

const dismissalSchema = z.object({
  stage: z.string(),
  rule: z.string().regex(/^R\d{1,2}$/),
  iteration: z.int().min(1),
  why: z.string().trim().min(1).max(2000),
  who: z.string().trim().min(1).max(200),
});

export function monitorWrites(context: ViewContext): Hono {
  const { store, live } = context;
  const routes = new Hono();
  routes.post("/runs/:run/alarms", async (c) => {
    const run = runNamed(context, c.req.param("run"));
    const { stage: name, rule, iteration, why, who } = dismissalSchema.parse(await c.req.json());
    const stage = stageNamed(context, run.id, name);
    if (stage.kind !== "policy") throw new RequestError(`stage ${name} is no training of a policy`);
    store.addAnnotation({
      row: alarmsOf(run.id, name),
      kind: "dismissal",
      about: `${rule} ${iteration}`,
      value: why,
      who,
    });
    live.touch();
    return c.json({ said: true });
  });
  return routes;
}

/** What the alarms of a training are spoken of under, among what people say of rows. */
function alarmsOf(run: string, stage: string): string {
  return `alarms of ${run} ${stage}`.slice(0, 200);
}
