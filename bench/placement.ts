// npx tsx --conditions=source bench/placement.ts DEVICE [MODEL]
//
// Which nodes of Tenet's graphs run where on a device: a training step, and with a model a call of prompts and a few steps of decoding.
// A line of JSON for each graph: by provider and op the nodes, the runs of them, and milliseconds on the host. What a device has no kernel for is under
// CPUExecutionProvider, with copies (Memcpy…) on both sides.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openLocalModel } from "@tenet/lm";
import type { DeviceName } from "@tenet/tensor";
import { trainStepTask } from "./random-model.ts";
import { decodeTask } from "./tasks.ts";
import { buildTrainStep, trainStepBatch } from "./train-step.ts";

interface Kernel {
  readonly cat: string;
  readonly name: string;
  /** Microseconds. */
  readonly dur: number;
  readonly args?: { readonly provider?: string; readonly op_name?: string };
}

const [device, model] = process.argv.slice(2) as [DeviceName | undefined, string | undefined];
if (device === undefined) {
  console.error("usage: bench/placement.ts DEVICE [MODEL]");
  process.exit(2);
}
const folder = mkdtempSync(join(tmpdir(), "tenet-placement-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

/** Runs some work, and says of each graph that it made what the runtime noted. */
async function profiled(what: string, work: () => Promise<void>): Promise<void> {
  const prefix = what.replaceAll(" ", "-");
  process.env.TENET_PROFILE = join(folder, prefix);
  await work();
  delete process.env.TENET_PROFILE;
  for (const file of readdirSync(folder).filter((name) => name.startsWith(prefix))) {
    const events = JSON.parse(readFileSync(join(folder, file), "utf8")) as Kernel[];
    const providers: Record<string, Record<string, { nodes: number; runs: number; ms: number }>> = {};
    const seen = new Set<string>();
    for (const { cat, name, dur, args } of events) {
      if (cat !== "Node" || !args?.provider || !args.op_name || !name.endsWith("_kernel_time")) continue;
      const ops = providers[args.provider] ?? {};
      providers[args.provider] = ops;
      const op = ops[args.op_name] ?? { nodes: 0, runs: 0, ms: 0 };
      ops[args.op_name] = op;
      if (!seen.has(name)) op.nodes++;
      seen.add(name);
      op.runs++;
      op.ms += dur / 1000;
    }
    console.log(JSON.stringify({ what, graph: file, providers }));
  }
}

const task = await trainStepTask();
await profiled("train-step", async () => {
  const { step, parameters } = await buildTrainStep(task, { checkpointing: false, device });
  await step.run({ ...parameters.feeds(), ...trainStepBatch() });
  await step.dispose();
});
if (model !== undefined) {
  process.env.TENET_BENCH_MODEL = model;
  const { prompts } = await decodeTask();
  await profiled("decode", async () => {
    const opened = await openLocalModel(model, { device });
    const sampling = { temperature: 0, maxTokens: 4, minTokens: 4 };
    for await (const _ of opened.generate(prompts.slice(0, 8).map((prompt) => ({ prompt, sampling }))));
    await opened.close();
  });
}
