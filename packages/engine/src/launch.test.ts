import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type FakeJob, healthServer, rayServer } from "../test/ray-server.ts";
import { RayJobs } from "./jobs.ts";
import { jobId, type LaunchOptions, launchEngine, packed } from "./launch.ts";
import { PROTOCOL } from "./protocol.ts";

const clusterToken = "the cluster's token";
const spec: LaunchOptions["spec"] = {
  ...{ model: "/models/m", dtype: "float32", workers: 2, gpus: 0, shard: true, threads: 1 },
  ...{ maxFailures: 5, idleMinutes: 15, host: "127.0.0.1" },
} as const;
const worker = (rank: number) => ({ rank, pid: 1, device: "cpu", memory: 1 });
const health = (workers: number) => ({
  ...{ protocol: PROTOCOL, versions: {}, epoch: 1, wanted: 2, model: null, upSeconds: 1 },
  workers: Array.from({ length: workers }, (_, rank) => worker(rank)),
  resources: { CPU: { have: 6, free: 4 } },
});

let home: string;
let closing: (() => void)[] = [];
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "tenet-launch-"));
  process.env.TENET_HOME = home;
});
afterEach(() => {
  for (const close of closing) close();
  closing = [];
});
afterAll(async () => {
  delete process.env.TENET_HOME;
  await rm(home, { recursive: true });
});

/** A cluster whose jobs become what a test wants, and the engine that they start. */
async function cluster(become: (job: FakeJob) => void, workers = () => 2) {
  let token: string | undefined;
  const ray = await rayServer({
    token: clusterToken,
    onSubmit: (job) => {
      token = (job.request as { runtime_env: { env_vars: { TENET_TOKEN: string } } }).runtime_env.env_vars.TENET_TOKEN;
      become(job);
    },
  });
  const engine = await healthServer(() => (token === undefined ? undefined : { token, value: health(workers()) }));
  closing.push(ray.close, engine.close);
  const launch = (more: Partial<LaunchOptions> = {}) =>
    launchEngine({
      ...{ ray: ray.address, run: "a-run", spec, port: engine.port },
      variables: { RAY_AUTH_TOKEN: clusterToken },
      ...more,
    });
  return { ray, launch };
}

describe("the job of a run", () => {
  it("is submitted with our program and a token of its own, and found again", async () => {
    const { ray, launch } = await cluster((job) => {
      job.status = "RUNNING";
    });
    const first = await launch();
    expect([first.attached, first.id, first.health.workers.length]).toEqual([false, jobId("a-run", spec), 2]);
    const [[name, zip]] = [...ray.packages] as [[string, Buffer]];
    expect(zip.subarray(0, 2).toString()).toBe("PK");
    expect(zip.toString("latin1")).toContain("tenet_engine/__main__.py");
    expect(zip.toString("latin1")).not.toContain("__pycache__");
    const { entrypoint, runtime_env: environment } = ray.jobs.get(first.id)!.request as never as {
      entrypoint: string;
      runtime_env: { working_dir: string; env_vars: Record<string, string> };
    };
    expect([entrypoint, environment.working_dir]).toEqual(["python -m tenet_engine", `gcs://${name}`]);
    expect(JSON.parse(environment.env_vars.TENET_SPEC!)).toMatchObject({ ...spec, protocol: PROTOCOL });
    expect(environment.env_vars.TENET_TOKEN).toMatch(/^[0-9a-f]{64}$/);
    expect(ray.seen.filter(({ headers }) => "sec-fetch-mode" in headers)).toEqual([]);

    const again = await launch();
    expect(again.attached).toBe(true);
    expect(await again.client.health()).toMatchObject({ wanted: 2 });
    // Behind one that has ended comes one of another name, which Ray may still hold; the program is there already.
    for (const next of [2, 3]) {
      for (const job of ray.jobs.values()) job.status = "SUCCEEDED";
      const { attached, id } = await launch();
      expect([attached, id]).toEqual([false, `${first.id}-${next}`]);
      expect((await launch()).id).toBe(id);
    }
    expect(await readdir(join(home, "engine"))).toEqual([`${first.id}-3.token`]);
    expect(ray.seen.filter(({ method }) => method === "DELETE")).toEqual([]);
    expect(ray.seen.filter(({ method }) => method === "PUT")).toHaveLength(1);
    // Of another specification it is another job.
    expect(jobId("a-run", { ...spec, workers: 3 })).not.toBe(first.id);
  });

  it("that ended says why, with the end of its log", async () => {
    const { launch } = await cluster((job) => {
      job.status = "FAILED";
      job.message = "Job entrypoint command failed with exit code 1";
      job.logs = `${Array.from({ length: 60 }, (_, i) => `line ${i}`).join("\n")}\nNo module named 'peft'\n`;
    });
    await expect(launch()).rejects.toThrow(/has ended: Job entrypoint command failed.*\nline 21[\s\S]*'peft'$/);
  });

  it("that gets too few workers says what the cluster has", async () => {
    const { ray, launch } = await cluster(
      (job) => {
        job.status = "RUNNING";
      },
      () => 1,
    );
    await expect(launch({ startMinutes: 0.01 })).rejects.toThrow(
      /1 of 2 workers are there after 0\.01 minutes; the cluster has 4 CPU free of 6/,
    );
    // Nor does it go on waiting for what nobody wants any more.
    expect([...ray.jobs.values()].map(({ status }) => status)).toEqual(["STOPPED"]);
  });

  it("of another machine is not taken over", async () => {
    const { ray, launch } = await cluster(() => undefined);
    ray.jobs.set(jobId("elsewhere", spec), { status: "RUNNING" });
    await expect(launch({ run: "elsewhere" })).rejects.toThrow(/started from another\. Continue there, or stop it/);
  });
});

describe("a cluster", () => {
  it("is not used without a token where others can reach it", async () => {
    const open = launchEngine({ ray: "http://10.0.0.1:8265", run: "r", spec, port: 1, variables: { HOME: home } });
    await expect(open).rejects.toThrow(/no address of this machine, and there is no token/);
  });

  it("that wants a token, or another one, that is none, or does not answer, says so", async () => {
    const ray = await rayServer({ token: clusterToken });
    const page = await healthServer(() => ({ token: "t", value: "<html>" }));
    closing.push(ray.close, page.close);
    await expect(new RayJobs({ address: ray.address }).version()).rejects.toThrow(/wants a token: set RAY_AUTH_TOKEN/);
    await expect(new RayJobs({ address: ray.address, token: "no" }).version()).rejects.toThrow(
      /does not take this token/,
    );
    const other = new RayJobs({ address: `http://127.0.0.1:${page.port}`, token: "t" });
    await expect(other.version()).rejects.toThrow(/expected the dashboard of a Ray cluster/);
    const nobody = new RayJobs({ address: "http://127.0.0.1:1" });
    await expect(nobody.version()).rejects.toThrow(/no Ray cluster answers at .*; is it up, and the tunnel to it\?/);
  });
});

it("a program is the same bytes for the same files", async () => {
  const program = () => packed({ spec });
  expect((await program()).equals(await program())).toBe(true);
  expect((await program()).length).toBeLessThan(200_000);
});
