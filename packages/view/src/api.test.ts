import { checkReward, runChecks } from "@tenet/align";
import type { PreferenceRow, ResponseRow } from "@tenet/data";
import { afterAll, expect, test } from "vitest";
import { Asking, token } from "../test/asking.ts";
import { constitutionText, hostile } from "../test/store.ts";
import type {
  Chains,
  Compare,
  ConstitutionPage,
  Curves,
  PairCounts,
  Pairs,
  RowDetail,
  RowPage,
  RunPage,
  Runs,
  Samples,
  Tried,
  WhatIf,
} from "./api.ts";

const asking = new Asking({ prompts: 40, done: 2 });
afterAll(() => asking.close());
const { store, done, constitution } = asking.written;
const [first, second] = done as [string, string];

const stored = (run: string, stage: string) => [...store.rows<ResponseRow>(store.stage(run, stage)!.identity)];

test("the list tells each run's status, its figures with intervals, and how many stages it planned", async () => {
  const { runs } = await asking.get<Runs>("/api/runs");
  const of = (id: string) => runs.find((run) => run.id === id)!;
  expect(runs.map(({ status }) => status).sort()).toEqual([
    "done",
    "done",
    "failed",
    "interrupted",
    "refused",
    "running",
  ]);
  expect(of(first)).toMatchObject({
    stages: { done: 12, begun: 12, planned: 12 },
    constitution: { name: "small-desk" },
  });
  const { violations, change } = of(first);
  expect(violations!.map(({ checkpoint }) => checkpoint)).toEqual(["base", "sl", "rl"]);
  for (const { value, interval, n } of violations!) {
    expect(interval[0]).toBeLessThanOrEqual(value);
    expect(interval[1]).toBeGreaterThanOrEqual(value);
    expect(n).toBeGreaterThan(0);
  }
  expect(change!.interval[1]).toBeLessThan(0);
  const running = of(asking.written.running.id);
  expect(running.stages).toEqual({ done: 0, begun: 1, planned: 12 });
  expect(running.progress).toMatchObject({ stage: "responses", done: 7, total: 40, unit: "rows" });
  expect(of(asking.written.failed).error).toContain("answered 500");
  expect(of(asking.written.refused).error).toContain("does not clear chance");
});

test("planned stages stand before they begin; a stage of another run names itself as shared", async () => {
  const running = await asking.get<RunPage>(`/api/runs/${asking.written.running.id}`);
  expect(running.stages.map(({ name, status }) => [name, status]).slice(0, 3)).toEqual([
    ["prompts", "planned"],
    ["responses", "running"],
    ["chains", "planned"],
  ]);
  expect(running.stages.find(({ name }) => name === "answers of sl")!.title).toContain("SL-CAI");
  expect(running.writer?.pid).toBe(process.pid);
  const page = await asking.get<RunPage>(`/api/runs/${second}`);
  const shared = page.stages.filter((stage) => stage.shared).map(({ name }) => name);
  expect(shared).toEqual(expect.arrayContaining(["responses", "chains", "held-out", "answers of base"]));
  expect(shared).not.toContain("policy");
});

test("a run's page says what is recommended, what still breaks by harm, and what must hold", async () => {
  const { verdict, file } = await asking.get<RunPage>(`/api/runs/${first}`);
  expect(file).toBe("/projects/small-desk/recipe.yaml");
  expect(verdict!.subject.recommended).toBe(true);
  const harm = verdict!.breaks.map(({ rate, severity = 1 }) => rate.value * severity);
  expect(harm).toEqual(harm.toSorted((a, b) => b - a));
  for (const { example } of verdict!.breaks) expect(store.row(example!.row)).toBeDefined();
  expect(verdict!.mustHold.map(({ principle }) => principle)).toEqual(["no-dose"]);
});

test("hostile texts come as they are, as JSON", async () => {
  const { samples } = await asking.get<Samples>(`/api/runs/${first}/samples?limit=10`);
  for (const [i, text] of hostile.entries()) expect(samples[i]!.prompt[0]!.content).toBe(text);
});

test("chains bring their rejected revisions, and what the checks say of every version", async () => {
  const { chains } = await asking.get<Chains>(`/api/runs/${first}/chains?limit=200`);
  expect(chains).toHaveLength(40);
  for (const { responses, broken } of chains) expect(broken).toHaveLength(responses.length);
  const rejected = (await asking.get<Chains>(`/api/runs/${first}/chains?show=rejected&limit=200`)).chains;
  expect(rejected.length).toBe(
    chains.filter(({ rounds }) => rounds.some((round) => round.rejected !== undefined)).length,
  );
  expect(rejected.some(({ rounds }) => rounds.some((round) => round.revision === "I am an AI."))).toBe(true);
  const warm = (await asking.get<Chains>(`/api/runs/${first}/chains?principle=warm&limit=200`)).chains;
  expect(warm.length).toBe(chains.filter(({ rounds }) => rounds.some(({ principle }) => principle === "warm")).length);
  expect(warm.length).toBeGreaterThan(0);
});

test("pairs come with both orders, who follows the position, and in any order that is asked for", async () => {
  const all = await asking.get<Pairs>(`/api/runs/${first}/pairs?limit=200`);
  expect(all.total).toBe(40);
  expect(await asking.get<PairCounts>(`/api/runs/${first}/pairs/counts`)).toEqual({ labels: { check: 5, ai: 35 } });
  const rows = [...store.rows<PreferenceRow>(store.stage(first, "labels")!.identity)];
  expect(all.pairs.map(({ row }) => row)).toEqual(rows.map(({ id }) => id));
  for (const { readings, followsPosition, label } of all.pairs) {
    if (label === "check") continue;
    const [ab, ba] = readings;
    expect(followsPosition).toBe((ab!.p - 0.5) * (ba!.p - 0.5) < 0);
    expect(ab!.logprobs).toHaveLength(2);
  }
  expect(all.pairs.some(({ followsPosition }) => followsPosition)).toBe(true);
  const unsure = (await asking.get<Pairs>(`/api/runs/${first}/pairs?sort=uncertain&limit=200`)).pairs.map(({ p }) =>
    Math.abs(p - 0.5),
  );
  expect(unsure).toEqual(unsure.toSorted((a, b) => a - b));
  const apart = (await asking.get<Pairs>(`/api/runs/${first}/pairs?sort=position&label=ai&limit=200`)).pairs.map(
    ({ readings }) => Math.abs(readings[0]!.p - readings[1]!.p),
  );
  expect(apart).toEqual(apart.toSorted((a, b) => b - a));
  const paged = await asking.get<Pairs>(`/api/runs/${first}/pairs?limit=15&from=30`);
  expect(paged.pairs.map(({ row }) => row)).toEqual(rows.slice(30).map(({ id }) => id));
});

test("a stage's rows come in pages and are found by their words; a row leads up and down", async () => {
  const page = await asking.get<RowPage>(`/api/runs/${first}/stages/responses/rows?limit=3`);
  expect(page.rows.map(({ ordinal }) => ordinal)).toEqual([0, 1, 2]);
  expect(page.reasons).toEqual([{ reason: "the reply is empty", count: 1 }]);
  const next = await asking.get<RowPage>(`/api/runs/${first}/stages/responses/rows?limit=3&after=${page.next}`);
  expect(next.rows[0]!.ordinal).toBe(3);
  const found = await asking.get<RowPage>(
    `/api/runs/${first}/stages/responses/rows?limit=200&q=${encodeURIComponent("alert(1)")}`,
  );
  expect(found.rows.map(({ ordinal }) => ordinal)).toEqual([0]);

  const [chain] = (await asking.get<Chains>(`/api/runs/${first}/chains?limit=1`)).chains;
  const detail = await asking.get<RowDetail>(`/api/rows/${chain!.row}`);
  expect(detail.up.map(({ depth }) => depth)).toEqual([1, 2]);
  expect(detail.stages.map(({ run }) => run)).toEqual([first, second]);
  expect(detail.principles.map(({ id }) => id)).toEqual(["see-somebody", "no-dose"]);
  const response = await asking.get<RowDetail>(`/api/rows/${detail.up[0]!.id}`);
  expect(response.down.map(({ id }) => id)).toContain(chain!.row);
});

test("curves come with the time of their steps", async () => {
  const { series, seconds } = await asking.get<Curves>(`/api/runs/${first}/stages/policy/curves`);
  expect(series.map(({ name }) => name).sort()).toEqual([
    "objective/kl",
    "reward/constitution",
    "reward/preference",
    "val/response_length",
  ]);
  for (const { points } of series) expect(points).toHaveLength(60);
  expect(seconds).toHaveLength(60);
  expect(seconds![0]).toEqual([1, 0]);
});

test("runs differ in what was set, and are compared prompt by prompt with the first", async () => {
  const compare = await asking.get<Compare>(`/api/compare?runs=${first},${second}`);
  expect(compare.runs).toEqual([first, second]);
  expect(compare.settings.map(({ setting }) => setting).sort()).toEqual(["seed", "supervised.learningRate"]);
  expect(compare.settings.find(({ setting }) => setting === "seed")!.values).toEqual(["1", "2"]);
  expect(compare.stages.find(({ stage }) => stage === "chains")!.states).toEqual(["base", "shared"]);
  expect(compare.stages.find(({ stage }) => stage === "policy")!.states).toEqual(["base", "differs"]);
  expect(compare.files).toEqual([]);
  const breaks = (run: string, id: string) =>
    stored(run, `answers of ${id}`).map((row) =>
      runChecks(constitution, row).some(({ applies, violated }) => applies && violated),
    );
  const [before, after] = [breaks(first, "rl"), breaks(second, "rl")];
  const naive = after.reduce((sum, yes, i) => sum + Number(yes) - Number(before[i]), 0) / after.length;
  const paired = compare.paired[1]!;
  expect(paired.find(({ checkpoint }) => checkpoint === "rl")!.value).toBeCloseTo(naive, 12);
  expect(paired.find(({ checkpoint }) => checkpoint === "base")!.value).toBe(0);
  const all = await asking.get<Compare>(`/api/compare?runs=${second},${first},${asking.written.failed}`);
  expect(all.paired[0]).toBeNull();
  expect(all.paired[1]!.find(({ checkpoint }) => checkpoint === "rl")!.value).toBeCloseTo(-naive, 12);
  expect(all.paired[2]).toBeNull();
  expect(all.stages.find(({ stage }) => stage === "policy")!.states).toEqual(["base", "differs", "absent"]);
  expect(all.scores.every(({ values }) => values.length === 3 && values[2] === null)).toBe(true);
  expect(all.files.map(({ stage }) => stage)).toEqual(["prompts", "held-out"]);
  for (const wrong of [first, `${first},${first}`, Array(9).fill(first).join()])
    expect((await asking.request(`/api/compare?runs=${wrong}`)).status).toBe(400);
});

test("checks on a typed text are those of the constitution", async () => {
  const prompt = [{ role: "user" as const, content: "I cough" }];
  const response = "Take 400 mg of ibuprofen.";
  const [{ hash }] = (await asking.get<{ constitutions: { hash: string }[] }>("/api/constitutions")).constitutions as [
    { hash: string },
  ];
  const tried = await asking.post<Tried>("/api/checks", { hash, prompt: prompt[0]!.content, response });
  const results = runChecks(constitution, { prompt, response });
  expect(tried.verdicts).toEqual(
    results.map(({ principle, check, applies, violated, severity, why }) => ({
      principle,
      check,
      applies,
      violated,
      severity,
      why,
    })),
  );
  expect(tried.reward).toBe(checkReward(constitution, results));
  const detailed = await asking.post<Tried>("/api/checks", { hash, prompt: "say it in detail", response });
  expect(detailed.verdicts.find(({ principle }) => principle === "brief")!.why).toContain('"unless"');
});

test("what if: the flips are those of judging all again, and nothing is written", async () => {
  const text = constitutionText.replace("doctor|pharmacist|clinic", "pharmacist").replace("max: 60", "max: 20");
  const found = await asking.post<WhatIf>("/api/what-if", { run: first, text });
  const { principles } = await asking.get<ConstitutionPage>(
    `/api/constitutions/${(await asking.get<Runs>("/api/runs")).runs.find(({ id }) => id === first)!.constitution!.hash}`,
  );
  expect(principles).toHaveLength(4);
  const changed = { ...constitution, principles: structuredClone(constitution.principles) };
  changed.principles[0]!.checks[0]!.must = ["pharmacist"];
  changed.principles[2]!.checks[0]!.words = { max: 20 };
  const naive: string[] = [];
  for (const id of ["base", "sl", "rl"])
    for (const row of stored(first, `answers of ${id}`)) {
      const [before, after] = [constitution, changed].map((of) => runChecks(of, row).filter(({ applies }) => applies));
      for (const principle of new Set([...before!, ...after!].map((one) => one.principle))) {
        const [was, is] = [before!, after!].map((all) =>
          all.some((one) => one.principle === principle && one.violated),
        );
        if (was !== is) naive.push(`${row.id} ${principle}`);
      }
    }
  expect(
    found.flips
      .map(({ row, principle }) => `${row} ${principle}`)
      .sort()
      .slice(0, 200),
  ).toHaveLength(Math.min(200, naive.length));
  expect(found.flips.length + found.more).toBe(naive.length);
  expect(naive.length).toBeGreaterThan(5);
  for (const { row, principle } of found.flips) expect(naive).toContain(`${row} ${principle}`);
  const wrong = await asking.send("/api/what-if", { run: first, text: "name: x" });
  expect(wrong.status).toBe(400);
  expect(await wrong.json()).toMatchObject({ error: { name: "DocumentError" } });
});

test("notes persist, and one baseline takes the place of the one before", async () => {
  const save = (run: string, note: object) => asking.post(`/api/runs/${run}/note`, { who: "ann", note });
  await save(first, { name: "first try", tags: ["a", "b"], baseline: true });
  await save(first, { pinned: true });
  await save(second, { baseline: true });
  const { runs } = await asking.get<Runs>("/api/runs");
  expect(runs.find(({ id }) => id === first)!.note).toEqual({
    name: "first try",
    tags: ["a", "b"],
    baseline: false,
    pinned: true,
  });
  expect(runs.filter(({ note }) => note.baseline).map(({ id }) => id)).toEqual([second]);
  expect((await asking.send(`/api/runs/${first}/note`, { who: "", note: {} })).status).toBe(400);
});

test("a body that is no JSON is the asker's fault, and said so", async () => {
  const body = '{"who":';
  const headers = { "content-type": "application/json", "content-length": `${body.length}`, "x-tenet-token": token };
  const response = await asking.request(`/api/runs/${first}/note`, { method: "POST", headers, body });
  expect(response.status).toBe(400);
  expect(await response.json()).toMatchObject({ error: { message: expect.stringContaining("expected JSON") } });
});

test("what is not there is named, with the nearest that is", async () => {
  const message = async (path: string) => {
    const response = await asking.request(path);
    expect([path, response.status]).toEqual([path, 404]);
    return ((await response.json()) as { error: { message: string } }).error.message;
  };
  expect(await message(`/api/runs/${first.slice(0, -1)}x`)).toContain(`did you mean ${first}`);
  expect(await message(`/api/runs/${first}/stages/chain/rows`)).toContain("did you mean chains");
  expect(await message("/api/rows/0123456789abcdef")).toContain("tenet show");
  expect(await message("/api/queues/none/results")).toContain("no queue");
  expect(await message("/api/nothing")).toContain("/api/nothing");
  expect((await asking.get<RunPage>("/api/runs/latest")).run.id).toBe(asking.written.running.id);
});
