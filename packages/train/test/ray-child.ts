/*
 * Run by tests/ray-engine.test.ts in a network and with processes of its own: a Ray cluster of two nodes on the loopback interface, the engine as a job of
 * it, trainings there and here. Prints one JSON object a line. Ray's processes are children of ours and end with it.
 *
 *   ray-child.ts <python> <folder> <shard|whole> [training …]
 */
import { join } from "node:path";
import { setTimeout as later } from "node:timers/promises";
import { launchEngine, startCluster } from "@tenet/engine";
import { writeTinyModel } from "@tenet/fixtures";
import { resuming } from "../src/resuming.ts";
import { distance, finish } from "../src/self-test/distance.ts";
import { openSelfTest } from "../src/self-test/index.ts";
import { trainings } from "../src/self-test/trainings.ts";

const [python = "", folder = "", how = "", ...names] = process.argv.slice(2);
const tell = (what: string, value: object = {}) => console.log(JSON.stringify({ what, ...value }));
const began = performance.now();
const seconds = (from = began) => Number(((performance.now() - from) / 1000).toFixed(1));

process.env.TENET_HOME = folder;
const cluster = await startCluster({
  ...{ python, folder: join(folder, "cluster"), nodes: 2, startSeconds: 900 },
  onStatus: (status) => tell("cluster", { status, seconds: seconds() }),
});
const { address, token, jobs } = cluster;
try {
  const path = await writeTinyModel(join(folder, "model"));
  const launching = performance.now();
  const statuses = new Set<string>();
  const { client, health, id } = await launchEngine({
    ...{ ray: address, run: `test-${how}`, port: 8270, python, startMinutes: 15 },
    spec: {
      ...{ model: path, dtype: "float32", workers: 2, gpus: 0, shard: how === "shard", threads: 1 },
      ...{ maxFailures: 3, idleMinutes: 5, host: "127.0.0.1" },
    },
    variables: { RAY_AUTH_TOKEN: token },
    onStatus: (status) => void statuses.add(status),
  });
  const onNodes = new Set(health.workers.map(({ node }) => node)).size;
  tell("ready", {
    seconds: seconds(launching),
    workers: health.workers.length,
    nodes: onNodes,
    statuses: [...statuses],
  });

  const test = await openSelfTest({ model: path, folder, engine: client });
  for (const name of names.length > 0 ? names : test.trainings) tell("compared", await test.compare(name));

  // A worker is killed in the middle of a training, which goes on from its last checkpoint.
  const whole = await test.train("sft", test.there, "undisturbed");
  const killing = performance.now();
  const { workers, epoch } = await client.health();
  let killed = false;
  const restarts: string[] = [];
  const disturbed = async function* () {
    const run = trainings.sft!(test.there, join(folder, "disturbed"), test.start);
    for (let next = await run.next(); ; next = await run.next()) {
      if (next.done) return next.value;
      yield next.value;
      if (!killed) process.kill(workers[1]!.pid, "SIGKILL");
      killed = true;
    }
  };
  const after = await finish(resuming(disturbed, { onRestart: ({ message }) => void restarts.push(message) }));
  const apart = await distance(test.here, whole, { ...after, events: whole.events });
  tell("killed", {
    seconds: seconds(killing),
    restarts: restarts.length,
    adapter: apart.adapter,
    epochs: (await client.health()).epoch - epoch,
  });
  const traffic = Object.entries(client.traffic).map(([verb, { calls, milliseconds, bytesSent, bytesReceived }]) => {
    const mean = (sum: number) => Math.round((10 * sum) / calls) / 10;
    return [verb, { calls, milliseconds: mean(milliseconds), sent: mean(bytesSent), received: mean(bytesReceived) }];
  });
  tell("traffic", Object.fromEntries(traffic));
  const stopping = performance.now();
  await jobs.stop(id);
  for (;;) {
    const job = await jobs.job(id);
    if (job?.status === "STOPPED") break;
    if (seconds(stopping) > 60) throw new Error(`the job is ${job?.status} after a minute`);
    await later(300);
  }
  tell("stopped", { seconds: seconds(stopping) });
  await test.close();
} finally {
  await cluster.close();
  tell("down", { seconds: seconds() });
}
process.exit(process.exitCode ?? 0);
