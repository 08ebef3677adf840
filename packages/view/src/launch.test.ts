import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openRecipe, runSpec } from "@tenet/align";
import { runId } from "@tenet/runs";
import { afterAll, expect, test } from "vitest";
import { Asking, folder } from "../test/asking.ts";
import type { LaunchState, RecipeCheck, RecipeFile, RecipeFiles, RecipeText, StoreInfo } from "./api.ts";

const ours = fileURLToPath(new URL("../../../recipes", import.meta.url));
/** Prints what it was started with, and lives on for a moment. */
const command = [
  process.execPath,
  "-e",
  "console.log(JSON.stringify(process.argv.slice(1))); setTimeout(() => process.exit(0), 200)",
];

/** Unlike any other's: prompts that nearly say the same count as the same. */
const wordsOf = (i: number) => createHash("sha256").update(`${i}`).digest("hex").match(/.{8}/g)!.join(" ");

const project = folder();
writeFileSync(
  join(project, "constitution.yaml"),
  "name: x\nversion: '1'\nprinciples:\n  - { id: warm, text: Be warm. }\n",
);
for (const [file, from] of [
  ["train", 0],
  ["held-out", 100],
  ["half-known", 25],
] as const)
  writeFileSync(
    join(project, `${file}.jsonl`),
    Array.from({ length: 50 }, (_, i) => `${JSON.stringify({ prompt: wordsOf(from + i) })}\n`).join(""),
  );
const text = `# a comment that stays
model: smollm2-135m-instruct
constitution: constitution.yaml
prompts: { train: train.jsonl, heldOut: held-out.jsonl }
`;
const file = join(project, "recipe.yaml");
writeFileSync(file, text);

const asking = new Asking({ prompts: 4, done: 1, launch: { command, project } });
const repository = new Asking({ prompts: 4, done: 1, launch: { command, project: ours } });
afterAll(() => {
  asking.close();
  repository.close();
});
const check = (more: object = {}) => asking.post<RecipeCheck>("/api/recipes/check", { file, ...more });

test("recipes of the project are listed, and no other file is read, checked or started", async () => {
  const outside = folder();
  writeFileSync(join(outside, "secret.yaml"), text);
  symlinkSync(join(outside, "secret.yaml"), join(project, "link.yaml"));
  mkdirSync(join(project, "below"));
  writeFileSync(join(project, "below", "deep.yaml"), text);
  const { recipes } = await asking.get<RecipeFiles>("/api/recipes");
  expect(recipes).toEqual([{ file, name: "recipe.yaml", folder: project }]);
  const others = [
    "/etc/passwd",
    join(outside, "secret.yaml"),
    join(project, "link.yaml"),
    join(project, "below", "deep.yaml"),
    join(project, "constitution.yaml"),
    `${project}/../${project.split("/").at(-1)}/recipe.yaml`,
    `${file}\u0000`,
    "recipe.yaml",
  ];
  for (const other of others)
    for (const path of ["/api/recipes/text", "/api/recipes/check", "/api/launch"])
      expect([path, other, (await asking.send(path, { file: other })).status]).toEqual([path, other, 404]);
});

test("every recipe of the repository comes as it is written, and its run's id is that of its file", async () => {
  const { recipes } = await repository.get<RecipeFiles>("/api/recipes");
  expect(recipes.map(({ name }) => name)).toEqual(
    readdirSync(ours)
      .filter((name) => name.endsWith(".yaml"))
      .sort(),
  );
  for (const one of recipes) {
    const found = await repository.post<RecipeText>("/api/recipes/text", { file: one.file });
    expect(found.text).toBe(readFileSync(one.file, "utf8"));
  }
  const quick = recipes.find(({ name }) => name === "clinical-desk.quick.yaml")!;
  const id = runId(runSpec(await openRecipe(quick.file)));
  const unchanged = await repository.post<RecipeCheck>("/api/recipes/check", { file: quick.file });
  const given = await repository.post<RecipeCheck>("/api/recipes/check", {
    file: quick.file,
    text: readFileSync(quick.file, "utf8"),
  });
  expect([unchanged.run, given.run]).toEqual([id, id]);
  expect(unchanged.estimate!.stages.length).toBeGreaterThan(10);
  const seeded = await repository.post<RecipeCheck>("/api/recipes/check", { file: quick.file, seed: 9, limit: 3 });
  expect(seeded.run).toBe(runId(runSpec(await openRecipe(quick.file, { seed: 9, limit: 3 }))));
  expect(seeded.command).toBe(`tenet run ${quick.file} --limit 3 --seed 9`);
  // What so few pairs cannot tell is warned of, and not noted beside the estimate again.
  expect(seeded.warnings!.join()).toMatch(/preference/i);
  expect(seeded.notes!.filter((note) => seeded.warnings!.includes(note))).toEqual([]);
}, 120_000);

test("what is wrong is told with its line; what is to be thought over in the files is told too", async () => {
  const wrong = await check({ text: text.replace("model: smollm2", "modle: smollm2") });
  expect(wrong.run).toBeUndefined();
  expect(wrong.problems.some(({ line, message }) => line === 2 && message.includes("model"))).toBe(true);
  const missing = await check({ text: text.replace("train.jsonl", "nowhere.jsonl") });
  expect(missing.problems[0]).toMatchObject({ line: 4, message: expect.stringContaining("nowhere.jsonl") });
  const leaking = await check({ text: text.replace("heldOut: held-out.jsonl", "heldOut: half-known.jsonl") });
  expect(leaking.warnings!.join()).toContain("25 of 50");
  expect((await check()).warnings!.join()).not.toContain("of 50");
});

test("a changed recipe becomes a new file beside its own, over none", async () => {
  const changed = `${text}seed: 3\n`;
  const saved = await asking.post<RecipeFile>("/api/recipes/save", { file, name: "changed.yaml", text: changed });
  expect(readFileSync(saved.file, "utf8")).toBe(changed);
  expect(readFileSync(file, "utf8")).toBe(text);
  for (const name of [
    "changed.yaml",
    "recipe.yaml",
    "../up.yaml",
    "a/b.yaml",
    ".hidden.yaml",
    "x.sh",
    "x.yaml\u0000",
    "",
  ])
    expect([name, (await asking.send("/api/recipes/save", { file, name, text })).status]).toEqual([name, 400]);
  expect(existsSync(join(project, "..", "up.yaml"))).toBe(false);
});

test("a run is started with its arguments as they are, and goes on without who asked", async () => {
  const { run } = await asking.post<{ run: string }>("/api/launch", { file, limit: 5, seed: 2 });
  expect(run).toBe((await check({ limit: 5, seed: 2 })).run);
  let state: LaunchState;
  do {
    await new Promise((resolve) => setTimeout(resolve, 50));
    state = await asking.get<LaunchState>(`/api/launches/${run}`);
  } while (state.running);
  expect(state.code).toBe(0);
  const folderOfStore = (await asking.get<StoreInfo>("/api/store")).folder;
  expect(JSON.parse(state.said)).toEqual(["run", file, "--limit", "5", "--seed", "2", "--store", folderOfStore]);
  for (const wrong of [{ limit: 0 }, { limit: "1; rm" }, { seed: -1 }, { seed: 0.5 }])
    expect((await asking.send("/api/launch", { file, ...wrong })).status).toBe(400);
  expect((await asking.request("/api/launches/none")).status).toBe(404);
});

test("an export is the command's, into a new folder of the store", async () => {
  const [done] = asking.written.done;
  const start = () =>
    asking.post<{ name: string; folder: string }>(`/api/runs/${done}/exports`, { parts: ["card"], checkpoint: "rl" });
  const { name, folder: into } = await start();
  expect(into).toBe(join(asking.folder, "exports", `${done}-1`));
  let state: LaunchState;
  do {
    await new Promise((resolve) => setTimeout(resolve, 50));
    state = await asking.get<LaunchState>(`/api/launches/${encodeURIComponent(name)}`);
  } while (state.running);
  expect(JSON.parse(state.said)).toEqual([
    "export",
    done,
    into,
    "--what",
    "card",
    "--checkpoint",
    "rl",
    "--store",
    asking.folder,
  ]);
  // Nothing was written there, so that the name is free again; two at once have two folders.
  const both = [await start(), await start()].map((one) => one.folder);
  expect(both).toEqual([into, join(asking.folder, "exports", `${done}-2`)]);
  for (const parts of [[], ["card", "--store=/tmp"], ["everything"]])
    expect((await asking.send(`/api/runs/${done}/exports`, { parts })).status).toBe(400);
});

test("nothing is started without the token, from another page, or where the store is read only or no program was named", async () => {
  const tries: Record<string, string>[] = [
    { "x-tenet-token": "" },
    { origin: "http://evil.example" },
    { "sec-fetch-site": "cross-site" },
    { host: "evil.example" },
    { "content-type": "text/plain" },
  ];
  for (const headers of tries)
    for (const path of ["/api/launch", "/api/recipes/save", `/api/runs/${asking.written.done[0]}/exports`])
      expect(
        (await asking.send(path, { file, name: "y.yaml", text, parts: ["card"] }, headers)).status,
      ).toBeGreaterThanOrEqual(403);
  expect(existsSync(join(project, "y.yaml"))).toBe(false);
  const closed = new Asking({ prompts: 2, done: 1, readOnly: true, launch: { command, project } });
  const bare = new Asking({ prompts: 2, done: 1 });
  for (const one of [closed, bare]) {
    expect((await one.get<StoreInfo>("/api/store")).launches).toBe(false);
    expect((await one.request("/api/recipes")).status).toBe(404);
    for (const path of ["/api/recipes/text", "/api/recipes/check", "/api/recipes/save", "/api/launch"])
      expect([path, (await one.send(path, { file, name: "y.yaml", text })).status]).toEqual([path, 404]);
    one.close();
  }
});
