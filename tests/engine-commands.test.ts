import { run } from "tenet";
import { afterAll, beforeAll, expect, it } from "vitest";
import { surroundings } from "../packages/cli/test/project.ts";
import { rayServer } from "../packages/engine/test/ray-server.ts";

const token = "the cluster's token";
let ray: Awaited<ReturnType<typeof rayServer>>;
beforeAll(async () => {
  ray = await rayServer({ token });
  const ours = (name: string, status: string) => ({
    status,
    logs: `${name} says so\n`,
    metadata: { tenet: "1", run: name },
  });
  ray.jobs.set("tenet-one-0123", ours("one", "RUNNING"));
  ray.jobs.set("tenet-two-4567", ours("two", "FAILED"));
  ray.jobs.set("somebody-else", { status: "RUNNING" });
});
afterAll(() => ray.close());

async function engine(...args: string[]) {
  const { io, written } = surroundings({ env: { RAY_AUTH_TOKEN: token } });
  const code = await run(["engine", ...args, "--ray", ray.address], io);
  return { code, ...written };
}

it("tenet engine: a cluster, our engines on it, what one says, and its end", async () => {
  expect((await engine("check")).stdout).toContain("Ray 2.60.0 (as tested)");
  const { stdout } = await engine("status");
  expect(stdout).toMatch(/tenet-one-0123 +one +RUNNING/);
  expect(stdout).toMatch(/tenet-two-4567 +two +FAILED/);
  expect(stdout).not.toContain("somebody");
  expect((await engine("logs", "one")).stdout).toBe("one says so\n");
  expect((await engine("stop", "one")).stdout).toContain("goes on from its last checkpoint");
  expect(ray.jobs.get("tenet-one-0123")!.status).toBe("STOPPED");
  expect((await engine("stop", "two")).stdout).toContain("had ended already");
  const { engines } = JSON.parse((await engine("status", "--json")).stdout);
  expect(engines.map(({ run }: { run: string }) => run)).toEqual(["one", "two"]);
});

it("tenet engine: a run that is not there, an address that is none, a cluster that wants another token", async () => {
  expect(await engine("logs", "three")).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("those of one, two"),
  });
  const { io, written } = surroundings({ env: { RAY_AUTH_TOKEN: "another" } });
  expect(await run(["engine", "status", "--ray", "nonsense"], io)).toBe(2);
  expect(written.stderr).toContain("expected the address of a Ray dashboard");
  expect(await run(["engine", "status", "--ray", ray.address], io)).toBe(1);
  expect(written.stderr).toContain("does not take this token: set RAY_AUTH_TOKEN");
});

it("tenet engine up: a machine without Ray is told how to get it", async () => {
  const { io, written } = surroundings({ env: { TENET_ENGINE_PYTHON: "/nowhere/python" } });
  expect(await run(["engine", "up"], io)).toBe(2);
  expect(written.stderr).toMatch(/a cluster needs Python with Ray: .*environment\.sh makes it/);
  expect(await run(["engine", "up", "--workers", "0"], io)).toBe(2);
  expect(written.stderr).toContain("--workers: expected at least 1, got 0");
});
