// npx tsx --conditions=source scripts/train-in-8-bits.ts [MODEL] [--from ADAPTER] [--rounds 3] [--threads N] [--json FILE]
//
// What it does to a training that the frozen matrices of layers are held in 8 bits (LocalOptions.trainedOn): on updates of eight neutral texts each the cosine between
// its gradient of the factors and the float32 one, how long it is beside it, and how much the loss differs; and the time of gradients, in rounds that take turns.
// The factors are an adapter's, or random as a training begins with and a little stirred, since the gradient of one factor is 0 where the other is. The interval is a bootstrap
// over updates.
import { writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { neutralTextsSchema } from "@tenet/align";
import { bootstrap, mean, readDocument } from "@tenet/data";
import { catalogue, loadAdapter, openLocalModel } from "@tenet/lm";
import { completionSequence, type Item, openLocalTrainer } from "@tenet/train";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    from: { type: "string" },
    rounds: { type: "string", default: "3" },
    threads: { type: "string" },
    json: { type: "string" },
  },
});
const reference = positionals[0] ?? catalogue.default;
const threads = options.threads === undefined ? {} : { threads: Number(options.threads) };
const neutral = fileURLToPath(new URL("../prompts/neutral.yaml", import.meta.url));
const { value: texts } = await readDocument(neutral, neutralTextsSchema);

/** In place of an update: all texts at once, which is what is timed. */
const all = -1;

async function trainerOn(trainedOn: "float32" | "int8") {
  const model = await openLocalModel(reference, { device: "cpu", trainedOn, ...threads });
  const { from } = options;
  const { lora } = from === undefined ? { lora: { rank: 16, alpha: 32 } } : await loadAdapter(from, model.config);
  const trainer = await openLocalTrainer({
    ...{ model, tuning: { lora }, seed: 1, from, device: "cpu", ...threads },
    // Nothing is learnt: an update drops the gradient and leaves the factors.
    optimizer: {
      ...({ learningRate: 0, schedule: "constant", warmupSteps: 0, steps: 1 } as const),
      ...({ betas: [0.9, 0.999], epsilon: 1e-8, weightDecay: 0, maxGradNorm: 0 } as const),
    },
  });
  const { data } = trainer.parameters;
  if (from === undefined) for (let i = 0; i < data.length; i++) data[i]! += 1e-3 * Math.sin(i);
  const items = texts.map((text): Item => {
    const tokens = model.text.encode(text);
    const weight = tokens.slice(1).map(() => 1 / (8 * (tokens.length - 1)));
    return { sequences: [completionSequence(tokens.slice(0, 1), tokens.slice(1), { weight })] };
  });
  const objective = trainer.objective((graph) => {
    const { logprobs } = graph.tokens();
    return { loss: logprobs.mul(graph.value("weight")).sum().neg() };
  });
  const gradient = async (update: number) => {
    const began = performance.now();
    const { loss } = await objective.accumulate(update === all ? items : items.slice(8 * update, 8 * update + 8));
    const seconds = (performance.now() - began) / 1000;
    const values = trainer.gradient().slice();
    await trainer.update();
    return { loss, values, seconds };
  };
  return { gradient, close: () => trainer.close().then(() => model.close()) };
}

const exact = await trainerOn("float32");
const coarse = await trainerOn("int8");
const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, value, i) => sum + value * b[i]!, 0);
const updates = Math.floor(texts.length / 8);
const found: Readonly<Record<"cosine" | "norm" | "loss", number>>[] = [];
for (let update = 0; update < updates; update++) {
  const [one, other] = [await exact.gradient(update), await coarse.gradient(update)];
  const [a, b] = [Math.sqrt(dot(one.values, one.values)), Math.sqrt(dot(other.values, other.values))];
  found.push({ cosine: dot(one.values, other.values) / (a * b), norm: b / a, loss: other.loss - one.loss });
}
const ratios: number[] = [];
// Of the first round graphs are compiled.
for (let round = 0; round <= Number(options.rounds); round++) {
  const [one, other] = [await exact.gradient(all), await coarse.gradient(all)];
  if (round > 0) ratios.push(one.seconds / other.seconds);
}
await exact.close();
await coarse.close();
const summary = (key: "cosine" | "norm" | "loss") =>
  bootstrap(
    found.map((one) => one[key]),
    mean,
    { seed: 1 },
  );
const result = {
  ...{ model: reference, processor: cpus()[0]?.model.trim(), load: loadavg()[0], updates },
  ...{ cosine: summary("cosine"), norm: summary("norm"), loss: summary("loss"), ratios },
};
console.log(JSON.stringify(result, undefined, 1));
if (options.json) writeFileSync(options.json, `${JSON.stringify(result)}\n`);
