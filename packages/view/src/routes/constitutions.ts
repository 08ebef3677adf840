import { type Constitution, checkReward, constitutionHash, parseConstitution } from "@tenet/align";
import { groupBy, type ResponseRow, rate } from "@tenet/data";
import { Hono } from "hono";
import { z } from "zod";
import type { ConstitutionLine, ConstitutionPage, Constitutions, Tried, WhatIf } from "../api.ts";
import { cardOf, figure } from "../cards.ts";
import { runNamed, type ViewContext } from "../context.ts";
import { NotFoundError, RequestError } from "../errors.ts";
import { finite } from "../finite.ts";
import { checkpointStages, pagesOf } from "../samples.ts";
import { brokenBy, checked } from "../verdicts.ts";

/** Flips that are listed; the others are counted. */
const mostFlips = 200;

export function constitutionRoutes(context: ViewContext): Hono {
  const { store } = context;
  const routes = new Hono();

  routes.get("/constitutions", (c) =>
    c.json<Constitutions>({ constitutions: [...known(context).values()].map(({ line }) => line) }),
  );

  routes.get("/constitutions/:hash", (c) => {
    const found = named(context, c.req.param("hash"));
    const { line, constitution } = found;
    return c.json<ConstitutionPage>({
      line,
      principles: constitution.principles.map(({ checks, category, ...principle }) => ({
        id: principle.id,
        text: principle.text,
        weight: principle.weight,
        critiqueRequest: principle.critiqueRequest,
        revisionRequest: principle.revisionRequest,
        preferenceQuestion: principle.preferenceQuestion,
        ...(category !== undefined && { category }),
        checks: checks.map(({ name, severity, ...rule }, i) => ({
          name: name ?? `check ${i + 1}`,
          severity,
          rule: JSON.parse(JSON.stringify(rule)),
        })),
      })),
      confirmed: confirmedBy(context, constitution, line.hash),
      yaml: textOf(constitution),
      broken: line.runs.flatMap((run) =>
        (cardOf(store, run)?.principles ?? []).map((one) => ({
          run,
          checkpoint: one.checkpoint,
          principle: one.principle,
          rate: figure(one),
        })),
      ),
    });
  });

  return routes;
}

const triedSchema = z.object({
  hash: z.string().optional(),
  text: z.string().max(500_000).optional(),
  prompt: z.string().max(50_000),
  response: z.string().max(200_000),
});
const whatIfSchema = z.object({ run: z.string(), text: z.string().max(500_000) });

/** What is asked in a body, and changes nothing. */
export function constitutionQuestions(context: ViewContext): Hono {
  const { judge } = context;
  const routes = new Hono();

  routes.post("/checks", async (c) => {
    const { hash, text, prompt, response } = triedSchema.parse(await c.req.json());
    const constitution = text !== undefined ? parsed(text) : named(context, hash ?? "").constitution;
    const results = checked(constitution, { prompt: [{ role: "user", content: prompt }], response });
    if (!results) throw new RequestError("a check of this constitution is a program (module), which is not run here");
    return c.json<Tried>({
      verdicts: results.map(({ principle, check, applies, violated, severity, why }) => ({
        principle,
        check,
        applies,
        violated,
        severity,
        why,
      })),
      ...(results.some(({ applies }) => applies) && { reward: checkReward(constitution, results) }),
    });
  });

  /** Which verdicts on a run's replies another text of its constitution would change. */
  routes.post("/what-if", async (c) => {
    const { run: id, text } = whatIfSchema.parse(await c.req.json());
    const run = runNamed(context, id);
    const changed = parsed(text);
    const opened = { constitution: changed, hash: constitutionHash(changed) };
    const told: WhatIf = { replies: 0, flips: [], more: 0, rates: [] };
    const seen = new Map<string, { cluster: string; before?: boolean; after?: boolean }[]>();
    for await (const { samples } of pagesOf(context, run, checkpointStages(context.store, run.id), -1))
      for (const { prompt, category, replies } of samples)
        for (const reply of replies) {
          if (!reply.verdicts)
            throw new RequestError("checks of the run's constitution are programs, which are not run here");
          const shown = { prompt: prompt as never, response: reply.response, category };
          const results = judge.results(opened, { key: reply.row, ...shown });
          if (!results)
            throw new RequestError("a check of this constitution is a program (module), which is not run here");
          told.replies++;
          const [before, after] = [reply.verdicts, results.filter(({ applies }) => applies)];
          for (const principle of new Set([...before, ...after].map((one) => one.principle))) {
            const [was, is] = [broken(before, principle), broken(after, principle)];
            const key = JSON.stringify([reply.checkpoint, principle]);
            const cluster = JSON.stringify(prompt);
            seen.set(key, [
              ...(seen.get(key) ?? []),
              { cluster, ...(was !== undefined && { before: was }), ...(is !== undefined && { after: is }) },
            ]);
            if (was === is) continue;
            if (told.flips.length >= mostFlips) told.more++;
            else
              told.flips.push({
                row: reply.row,
                checkpoint: reply.checkpoint,
                prompt: prompt.at(-1)!.content,
                response: reply.response,
                principle,
                before: was ?? null,
                after: is ?? null,
                why: [...after, ...before].find((one) => one.principle === principle && one.violated)?.why ?? "",
              });
          }
        }
    for (const [key, observations] of seen) {
      const [checkpoint, principle] = JSON.parse(key) as [string, string];
      const share = (side: "before" | "after") => {
        const those = observations.flatMap(({ cluster, [side]: yes }) => (yes === undefined ? [] : [{ cluster, yes }]));
        return those.length === 0 ? undefined : finite(rate(those));
      };
      const [before, after] = [share("before"), share("after")];
      told.rates.push({ checkpoint, principle, ...(before && { before }), ...(after && { after }) });
    }
    return c.json<WhatIf>(told);
  });
  return routes;
}

/** What people say of the checks' objections to stored replies; of those that this constitution's checks have. */
function confirmedBy(
  { store, judge }: ViewContext,
  constitution: Constitution,
  hash: string,
): ConstitutionPage["confirmed"] {
  const said = store.annotations().flatMap(({ row: id, kind, about, value }) => {
    const row = kind === "verdict" ? store.row<ResponseRow>(id) : undefined;
    if (!row?.prompt || typeof row.response !== "string") return [];
    const results = judge.results({ constitution, hash }, { ...row, key: id });
    return results?.some(({ principle, violated }) => principle === about && violated)
      ? [{ principle: about, cluster: id, yes: value === "breaks" }]
      : [];
  });
  return [...groupBy(said, ({ principle }) => principle)].map(([principle, all]) => ({
    principle,
    rate: finite(rate(all)),
  }));
}

/** Whether a principle is broken; undefined where none of its checks applies. */
function broken(results: readonly { principle: string; violated: boolean }[], principle: string): boolean | undefined {
  const own = results.filter((one) => one.principle === principle);
  return own.length === 0 ? undefined : (brokenBy(own) ?? []).length > 0;
}

function parsed(text: string): Constitution {
  return parseConstitution(text, { file: "constitution.yaml" }).value;
}

/** Constitutions that the store's runs were opened with, by their hash. */
function known({ store, judge }: ViewContext): Map<string, { line: ConstitutionLine; constitution: Constitution }> {
  const opened = store.runs().flatMap((run) => {
    const { constitution, hash } = judge.opened(run);
    return constitution && hash !== undefined ? [{ run: run.id, constitution, hash }] : [];
  });
  return new Map(
    [...groupBy(opened, ({ hash }) => hash)].map(([hash, group]) => {
      const { constitution } = group[0]!;
      const { name, version, principles } = constitution;
      const runs = group.map(({ run }) => run);
      return [hash, { constitution, line: { hash, name, version, principles: principles.length, runs } }];
    }),
  );
}

function named(context: ViewContext, hash: string) {
  const all = known(context);
  const found = all.get(hash) ?? [...all.values()].find(({ line }) => hash.length >= 6 && line.hash.startsWith(hash));
  if (!found) throw new NotFoundError(`no run of this store was opened with a constitution ${JSON.stringify(hash)}`);
  return found;
}

/** As JSON, which YAML readers read: what was left to defaults is filled in. */
function textOf(constitution: Constitution): string {
  return JSON.stringify(constitution, null, 2);
}
