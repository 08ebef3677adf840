import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { PROTOCOL, type Request, readBody, type TensorOf, type Verb, verbs, writeBody } from "@tenet/engine";
import { adapterShapes, type LocalModel, type LoraConfig, type Projection, SCORE_WEIGHT } from "@tenet/lm";
import { AdamW, clipByGlobalNorm, ParameterSet, type Tensor } from "@tenet/tensor";
import { forwardPass, Layout } from "../src/forward.ts";
import type { BatchGraph } from "../src/graph.ts";
import type { Item } from "../src/packing.ts";
import { Programs } from "../src/programs.ts";

/** An adapter there: parameters, their gradient and their optimizer. */
class HeldAdapter {
  readonly parameters: ParameterSet;
  readonly trainable: boolean;
  readonly layout: Layout;
  readonly gradient: Float32Array;
  optimizer: AdamW;
  step: number;

  constructor(model: LocalModel, { lora, trainable, step = 0 }: Request<"put">, tensors: Record<string, TensorOf>) {
    const own: LoraConfig = {
      rank: lora.r,
      alpha: lora.lora_alpha,
      targets: lora.target_modules as Projection[],
      rslora: lora.use_rslora,
    };
    const head = SCORE_WEIGHT in tensors;
    this.parameters = new ParameterSet(adapterShapes(model.config, own, { head }));
    this.trainable = trainable;
    this.layout = new Layout({ model, tuning: { lora: own, head }, device: "cpu", threads: 1 });
    this.gradient = new Float32Array(this.parameters.size);
    this.step = step;
    this.optimizer = new AdamW(this.parameters);
    const flat = (prefix: string, into: Float32Array) => {
      for (const { name, start } of this.parameters.ranges) into.set(tensors[prefix + name]!.data, start);
      return into;
    };
    flat("", this.parameters.data);
    const moment = () => new Float32Array(this.parameters.size);
    if (step > 0)
      this.optimizer.restore({
        step,
        firstMoment: flat("exp_avg/", moment()),
        secondMoment: flat("exp_avg_sq/", moment()),
      });
  }

  tensors(moments: boolean): Record<string, TensorOf> {
    const { firstMoment, secondMoment } = this.optimizer.state();
    const named = (prefix: string, values: Float32Array) =>
      this.parameters.ranges.map(({ name, shape, start, end }) => [
        prefix + name,
        { shape, data: values.slice(start, end) },
      ]);
    return Object.fromEntries([
      ...named("", this.parameters.data),
      ...(moments ? [...named("exp_avg/", firstMoment), ...named("exp_avg_sq/", secondMoment)] : []),
    ]);
  }
}

const options = { device: "cpu", threads: 1 } as const;

/**
 * The engine's verbs over HTTP, carried out by the local model's own graph: what a trainer that computes elsewhere asks for can be compared
 * with one that computes here, without Python. Requests are checked by the protocol's schema.
 */
export async function engineServer(model: LocalModel, token: string, { port = 0 }: { readonly port?: number } = {}) {
  const adapters = new Map<string, HeldAdapter>();
  const asked: { verb: Verb; name: string | undefined; keep: boolean }[] = [];
  /** Calls to fail, by their number, with a status. */
  const failures = new Map<number, number>();

  const valuesOf = (graph: BatchGraph, wanted: readonly string[], letters: readonly number[] = []) => {
    const found: Record<string, Tensor> = {};
    if (wanted.some((name) => ["logprobs", "correct", "entropy"].includes(name)))
      Object.assign(found, graph.tokens({ entropy: wanted.includes("entropy") }));
    if (wanted.includes("scores")) found.scores = graph.scores();
    for (const [k] of wanted.includes("logits") ? letters.entries() : [])
      found[`logits${k}`] = graph
        .logits(letters)
        .slice(1, k, k + 1)
        .reshape([graph.mask.dim(0)]);
    return Object.fromEntries(
      Object.entries(found).filter(([name]) => wanted.includes(name.replace(/\d$/, ""))),
    ) as Record<string, Tensor>;
  };

  const verb = {
    put(request: Request<"put">, tensors: Record<string, TensorOf>) {
      adapters.set(request.name, new HeldAdapter(model, request, tensors));
      return {};
    },
    get: ({ name, moments = false }: Request<"get">) => adapters.get(name)!.tensors(moments),
    async forward({ name, wanted, letters }: Request<"forward">, tensors: Record<string, TensorOf>) {
      const { layout, parameters } = adapters.get(name)!;
      const pass = forwardPass(layout, parameters, (graph) => valuesOf(graph, wanted, letters));
      const found = await pass.run(itemsOf(tensors));
      await pass.close();
      const flat = (values: (typeof found)[string]) => values.flatMap(([row]) => [...row!]);
      const n = tensors.chosen!.data.length;
      const single = Object.entries(found).filter(([key]) => wanted.includes(key as never));
      const columns = (letters ?? []).map((_, k) => flat(found[`logits${k}`] ?? []));
      return {
        ...Object.fromEntries(
          single.map(([key, values]) => [key, { shape: [n], data: Float32Array.from(flat(values)) }]),
        ),
        ...(wanted.includes("logits") && {
          logits: {
            shape: [n, columns.length],
            data: Float32Array.from(
              { length: n * columns.length },
              (_, i) => columns[i % columns.length]![Math.floor(i / columns.length)]!,
            ),
          },
        }),
      };
    },
    async backward({ name, letters = [] }: Request<"backward">, tensors: Record<string, TensorOf>) {
      const adapter = adapters.get(name)!;
      const { layout, parameters } = adapter;
      const cotangents = Object.entries(tensors).flatMap(([key, value]): [string, ArrayLike<number>][] => {
        if (!key.startsWith("cotangent/")) return [];
        if (key !== "cotangent/logits") return [[key.slice("cotangent/".length), value.data]];
        return letters.map((_, k) => [`logits${k}`, value.data.filter((_, i) => i % letters.length === k)]);
      });
      const wanted = [...new Set(cotangents.map(([key]) => key.replace(/\d$/, "")))];
      const programs = new Programs((time) => {
        const graph = layout.graph(time, parameters, { gradient: true });
        const values = valuesOf(graph, wanted, letters);
        const loss = cotangents
          .map(([key]) => values[key]!.mul(graph.value(key)).mul(graph.mask).sum())
          .reduce((a, b) => a.add(b));
        return { gradient: parameters.gradient(loss) };
      }, options);
      for (const batch of layout.pack(itemsOf(tensors, Object.fromEntries(cotangents)))) {
        const { gradient } = await programs.with(batch.time, (program) =>
          program.run(layout.feeds(program, batch, parameters)),
        );
        for (let i = 0; i < adapter.gradient.length; i++) adapter.gradient[i]! += gradient.data[i]!;
      }
      await programs.close();
      return {};
    },
    update({ name, learningRate, betas, epsilon, weightDecay, maxGradNorm }: Request<"update">) {
      const adapter = adapters.get(name)!;
      const norm = clipByGlobalNorm(adapter.gradient, maxGradNorm || Number.POSITIVE_INFINITY);
      const state = adapter.optimizer.state();
      adapter.optimizer = new AdamW(adapter.parameters, { betas, epsilon, weightDecay });
      adapter.optimizer.restore(state);
      adapter.optimizer.step(adapter.gradient, learningRate);
      adapter.gradient.fill(0);
      adapter.step++;
      return { gradNorm: { shape: [1], data: Float64Array.of(norm) } };
    },
    drop({ name }: Request<"drop">) {
      if (name === undefined) adapters.clear();
      else adapters.delete(name);
      return {};
    },
  };

  const { hidden_size, num_hidden_layers, num_attention_heads, num_key_value_heads, vocab_size } = model.config;
  const health = () => ({
    ...{ protocol: PROTOCOL, versions: {}, epoch: 1, wanted: 1, upSeconds: 1 },
    workers: [{ rank: 0, pid: process.pid, device: "cpu", memory: process.memoryUsage().rss }],
    model: { hidden_size, num_hidden_layers, num_attention_heads, num_key_value_heads, vocab_size },
  });
  const server = createServer(async (request, response) => {
    const refuse = (status: number, error: string) => response.writeHead(status).end(JSON.stringify({ error }));
    if (request.headers.authorization !== `Bearer ${token}`) return void refuse(401, "no token, or a wrong one");
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    if (request.url === "/v1/health") return void response.writeHead(200).end(JSON.stringify(health()));
    const name = request.url!.slice("/v1/".length) as Verb;
    try {
      const { json, tensors } = readBody(Buffer.concat(parts));
      const parsed = verbs[name].safeParse(json);
      if (!parsed.success) return void refuse(422, parsed.error.message);
      const status = failures.get(asked.length);
      asked.push({ verb: name, name: parsed.data.name, keep: "keep" in parsed.data && parsed.data.keep === true });
      if (status === 409) adapters.clear();
      if (status !== undefined) return void refuse(status, "as the test wants it");
      const given = parsed.data.name;
      if (name !== "put" && given !== undefined && !adapters.has(given))
        return void refuse(409, `there is no adapter ${given}, so the engine was started again since it was put`);
      const found = await verb[name](parsed.data as never, tensors as never);
      response.writeHead(200).end(writeBody({}, found));
    } catch (error) {
      refuse(500, (error as Error).stack!);
    }
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  return {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    adapters,
    asked,
    failures,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** Sequences of a request, each as an item. @param values beside the chosen places of all, by name */
function itemsOf(tensors: Record<string, TensorOf>, values: Record<string, ArrayLike<number>> = {}): Item[] {
  const { tokens, lengths, chosen, chosenLengths } = tensors;
  let [at, place] = [0, 0];
  return Array.from(lengths!.data, (length, i) => {
    const count = chosenLengths!.data[i]!;
    const own = Object.fromEntries(
      Object.entries(values).map(([name, all]) => [name, Array.from({ length: count }, (_, k) => all[place + k]!)]),
    );
    const sequence = {
      tokens: tokens!.data.slice(at, at + length),
      chosen: chosen!.data.slice(place, place + count),
      values: own,
    };
    at += length;
    place += count;
    return { sequences: [sequence] };
  });
}
