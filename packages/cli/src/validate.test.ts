import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
// Commands load it when they run: here it is no test's time.
import "@tenet/align";
import { afterAll, describe, expect, it } from "vitest";
import { constitution, surroundings, writeProject } from "../test/project.ts";
import { run } from "./index.ts";

const home = mkdtempSync(join(tmpdir(), "tenet-validate-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));

async function tenet(...args: string[]) {
  const { io, written } = surroundings();
  return { code: await run(args, io), ...written };
}
const file = (name: string, text: string) => {
  writeFileSync(join(home, name), text);
  return join(home, name);
};

describe("validate", () => {
  it("takes a constitution alone, and says what nothing measures", async () => {
    const kind = "  - { id: kind, text: Be kind. }\n";
    const path = file("constitution.yaml", constitution + kind);
    expect(await tenet("validate", path)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(
        /letters 1\nno-q +1 check\nshort +1 check\nkind +no check.*\n\n.*constitution\.yaml is in order/,
      ),
    });
    expect(JSON.parse((await tenet("validate", path, "--json")).stdout)).toMatchObject({
      valid: true,
      constitution: "letters",
      principles: [{ id: "no-q", checks: 1 }, { id: "short" }, { id: "kind", checks: 0 }],
    });
    const markdown = file("kind.md", "# kind\n\nVersion: 1\n\n## kind\n\nBe kind.\n");
    expect((await tenet("validate", markdown)).stderr).not.toMatch(/recipe/);
  });

  it("says what is wrong in a constitution alone", async () => {
    const path = file("wrong.yaml", constitution.replace("[q7]", "q|").replace("Be brief.", "''"));
    expect(await tenet("validate", path)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/wrong\.yaml:7:\d+ .*matches every text.*\n.*wrong\.yaml:10/),
    });
  });

  it("warns of what stands in the files, and is in order all the same", async () => {
    const recipe = await writeProject(join(home, "project"));
    const prompts = join(home, "project", "prompts.jsonl");
    writeFileSync(join(home, "project", "held-out.jsonl"), `${readFileSync(prompts, "utf8")}no JSON\n`);
    const { code, stdout } = await tenet("validate", recipe);
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /warning: held-out\.jsonl: 1 of 7 records cannot be used; the first is held-out\.jsonl:7: not JSON/,
    );
    expect(stdout).toMatch(/warning: 6 of 6 held-out prompts are also trained on .*none is left to measure on/);
    expect(stdout).toMatch(/recipe\.yaml is in order, but think over what is warned of\. Next: /);
    const { warnings } = JSON.parse((await tenet("validate", recipe, "--json")).stdout) as { warnings: string[] };
    expect(warnings.length).toBeGreaterThanOrEqual(2);
  });
});

it("validate --endpoints asks each server that a recipe names, and says which a run would miss", async () => {
  const server = createServer((_, response) => response.end(JSON.stringify({ data: [{ id: "m" }] })));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const gone = createServer().listen(0, "127.0.0.1");
  await once(gone, "listening");
  const { port: closed } = gone.address() as AddressInfo;
  gone.close();
  const recipe = await writeProject(join(home, "endpoints"));
  const text = readFileSync(recipe, "utf8");
  const of = (critic: string, labeller: string) =>
    writeFileSync(
      recipe,
      `${text}roles:\n  critic: { endpoint: [${critic}], model: m }\n  labeller: { endpoint: ${labeller}, model: m }\n`,
    );
  const [up, down] = [`"http://127.0.0.1:${port}/v1"`, `"http://127.0.0.1:${closed}/v1"`];
  of(`${up}, ${down}`, up);
  const some = await tenet("validate", recipe, "--endpoints");
  expect(some.stdout).toMatch(
    /critic +http:\/\/127\.0\.0\.1:\d+\/v1 +answers\ncritic +http:\/\/127\.0\.0\.1:\d+\/v1 +.*ECONNREFUSED/,
  );
  expect(some.code).toBe(0);
  of(`${down}, "http://localhost:${closed}/v1"`, up);
  const none = await tenet("validate", recipe, "--endpoints");
  expect(none).toMatchObject({
    code: 1,
    stdout: expect.stringContaining("a run will fail: too few servers of critic"),
  });
  const { servers } = JSON.parse((await tenet("validate", recipe, "--endpoints", "--json")).stdout);
  expect(servers.map(({ role, dead }: { role: string; dead?: string }) => [role, dead === undefined])).toEqual([
    ["critic", false],
    ["critic", false],
    ["labeller", true],
  ]);
  server.close();
});

it("ls where there is no store yet says how to begin, and is no error", async () => {
  const store = join(home, "none");
  expect(await tenet("ls", "--store", store)).toEqual({
    code: 0,
    stdout: `no runs in ${store} yet: tenet init writes a project to begin with\n`,
    stderr: "",
  });
  expect(JSON.parse((await tenet("ls", "--store", store, "--json")).stdout)).toEqual({ store, runs: [] });
  expect(existsSync(store)).toBe(false);
});
