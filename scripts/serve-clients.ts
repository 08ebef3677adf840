// npx tsx --conditions=source scripts/serve-clients.ts [--model NAME] [--prompts FILE] [--rows N] [--python PATH] [--rounds N]
//
// Programs of others against `tenet serve`, unchanged, and what they get held against the engine: the `openai` package always,
// EleutherAI's lm-evaluation-harness where --python names a Python that has it (pip install "lm_eval[api]" transformers), with a task
// of its own from a file and the tokenizer as exports write it: nothing is fetched. It sends raw texts as token ids, which is its
// default. With --rounds also how fast 16 callers are served beside what the engine does by itself, one after the other in turns, and
// what processor time a token takes: ratios, the second for machines that are not quiet.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { quantile } from "@tenet/data";
import {
  type LocalModel,
  type Message,
  openCheckpoint,
  openLocalModel,
  type Prompt,
  resolveModel,
  serve,
} from "@tenet/lm";
import OpenAI from "openai";

const { values } = parseArgs({
  options: {
    model: { type: "string", default: "smollm2-135m-instruct" },
    prompts: { type: "string", default: "prompts/clinical/held-out.jsonl" },
    rows: { type: "string", default: "10" },
    python: { type: "string" },
    rounds: { type: "string", default: "0" },
  },
});

const choices = [" Please call an emergency number now.", " That is nothing to worry about."];
const callers = 16;
const maxTokens = 48;

const prompts = readFileSync(values.prompts, "utf8")
  .trim()
  .split("\n")
  .slice(0, Number(values.rows))
  .map((line) => (JSON.parse(line) as { prompt: string }).prompt);
const said = (content: string): Message[] => [{ role: "user", content }];

/** The `openai` package: what is streamed, whole and read by the engine is one reply. */
async function openai(client: OpenAI, model: LocalModel): Promise<void> {
  let same = 0;
  for (const prompt of prompts.slice(0, 3)) {
    const asked = { model: "served", messages: said(prompt), temperature: 0, max_tokens: maxTokens };
    const whole = (await client.chat.completions.create(asked)).choices[0]!.message.content;
    let streamed = "";
    for await (const { choices } of await client.chat.completions.create({ ...asked, stream: true }))
      streamed += choices[0]?.delta.content ?? "";
    for await (const { completion } of model.generate([
      { prompt: said(prompt), sampling: { temperature: 0, maxTokens } },
    ]))
      if (whole === completion.text && streamed === completion.text) same++;
  }
  console.log(`openai ${OpenAI.name}: ${same} of 3 replies are the engine's, whole and streamed`);
}

/** lm-evaluation-harness: scores of choices are the engine's, and so are replies to raw texts and to conversations. */
async function harness(python: string, url: string, model: LocalModel): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "tenet-harness-"));
  const tokenizer = await writeTokenizer(join(folder, "tokenizer"));
  const data = join(folder, "rows.jsonl");
  writeFileSync(data, prompts.map((question) => `${JSON.stringify({ question })}\n`).join(""));
  const common = { dataset_path: "json", dataset_kwargs: { data_files: { test: data } }, test_split: "test" };
  // JSON is YAML.
  const task = (name: string, settings: object) =>
    writeFileSync(join(folder, `${name}.yaml`), JSON.stringify({ task: name, ...common, ...settings }));
  task("choices", {
    ...{ output_type: "multiple_choice", doc_to_text: "{{question}}", target_delimiter: "" },
    ...{ doc_to_choice: choices, doc_to_target: 0, metric_list: [{ metric: "acc" }] },
  });
  task("replies", {
    ...{ output_type: "generate_until", doc_to_text: "{{question}}", doc_to_target: "" },
    generation_kwargs: { until: ["\n\n\n"], max_gen_toks: maxTokens, temperature: 0 },
    metric_list: [{ metric: "bypass" }],
  });
  const evaluate = async (kind: string, verb: string, name: string, more: readonly string[] = []) => {
    const settings = `model=served,base_url=${url}/${verb},num_concurrent=4,tokenizer=${tokenizer}`;
    const args = [
      "-m",
      "lm_eval",
      "run",
      "--model",
      kind,
      "--model_args",
      settings,
      "--tasks",
      name,
      "--include_path",
      folder,
    ];
    const output = join(folder, `${kind} ${name}`);
    const child = spawn(python, [...args, "--output_path", output, "--log_samples", ...more], {
      stdio: ["ignore", "ignore", "pipe"],
      env: { ...process.env, OPENAI_API_KEY: "none", HF_HUB_OFFLINE: "1", HF_DATASETS_CACHE: join(folder, "cache") },
    });
    let errors = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      errors = (errors + text).slice(-3000);
    });
    const [code] = await once(child, "exit");
    if (code !== 0) throw new Error(`lm_eval ended with ${code}: ${errors}`);
    const files = readdirSync(output, { recursive: true }).map(String);
    const samples = files.find((file) => /samples_.*\.jsonl$/.test(file))!;
    const lines = readFileSync(join(output, samples), "utf8").trim().split("\n");
    return lines.map((line) => JSON.parse(line) as { doc: { question: string }; resps: [[unknown]][] });
  };
  try {
    let largest = 0;
    const scored = await evaluate("local-completions", "completions", "choices");
    for (const { doc, resps } of scored) {
      for await (const { scores } of model.score([{ prompt: doc.question, continuations: choices }]))
        scores.forEach(({ logprob }, i) => {
          largest = Math.max(largest, Math.abs(logprob - Number([resps[i]].flat(3)[0])));
        });
    }
    console.log(
      `lm_eval: ${scored.length} × 2 choices scored, largest difference from the engine ${largest.toFixed(5)} nats`,
    );
    const replies = async (kind: string, verb: string, asked: (question: string) => Prompt, more?: string[]) => {
      const told = await evaluate(kind, verb, "replies", more);
      let same = 0;
      for (const { doc, resps } of told) {
        const request = { prompt: asked(doc.question), sampling: { temperature: 0, maxTokens } };
        for await (const { completion } of model.generate([request]))
          if (completion.text === String([resps].flat(4)[0])) same++;
      }
      console.log(`lm_eval: ${same} of ${told.length} greedy replies of ${verb} are the engine's`);
    };
    await replies("local-completions", "completions", (question) => question);
    await replies("local-chat-completions", "chat/completions", said, ["--apply_chat_template"]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The model's tokenizer as a folder that transformers opens, also of a model that is a GGUF file. */
async function writeTokenizer(folder: string): Promise<string> {
  const checkpoint = await openCheckpoint(await resolveModel(values.model));
  const { tokenizer, config } = await checkpoint.tokenizer().finally(checkpoint.close);
  const json = (name: string, value: unknown) => writeFileSync(join(folder, name), JSON.stringify(value));
  mkdirSync(folder);
  json("tokenizer.json", tokenizer);
  json("tokenizer_config.json", { ...config, chat_template: checkpoint.chatTemplate });
  return folder;
}

/** Tokens a second of the engine alone and behind the server, in turns. */
async function throughput(client: OpenAI, model: LocalModel, rounds: number): Promise<void> {
  const asked = Array.from({ length: callers }, (_, i) => prompts[i % prompts.length]!);
  const sampling = { temperature: 1, maxTokens, minTokens: maxTokens };
  const timed = async (work: () => Promise<number>) => {
    const [start, before] = [performance.now(), process.cpuUsage()];
    const tokens = await work();
    const spent = process.cpuUsage(before);
    return {
      rate: (tokens / (performance.now() - start)) * 1000,
      // Of all threads, in milliseconds: what others do on this machine is not in it.
      processor: (spent.user + spent.system) / 1000 / tokens,
    };
  };
  const alone = () =>
    timed(async () => {
      let tokens = 0;
      const requests = asked.map((prompt, seed) => ({ prompt: said(prompt), sampling: { ...sampling, seed } }));
      for await (const { completion } of model.generate(requests)) tokens += completion.usage.completionTokens;
      return tokens;
    });
  const served = () =>
    timed(async () => {
      const answers = asked.map((prompt, seed) => {
        const body = { model: "served", messages: said(prompt), temperature: 1, max_tokens: maxTokens, seed };
        return client.chat.completions.create({
          ...body,
          min_tokens: maxTokens,
        } as OpenAI.ChatCompletionCreateParamsNonStreaming);
      });
      const told = await Promise.all(answers);
      return told.reduce((sum, { usage }) => sum + usage!.completion_tokens, 0);
    });
  await alone();
  await served();
  const rates: number[] = [];
  const costs: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const [own, behind] = round % 2 ? [await alone(), await served()] : [await served(), await alone()].reverse();
    rates.push(behind!.rate / own!.rate);
    costs.push(behind!.processor / own!.processor);
    const said = [own!, behind!].map(
      ({ rate, processor }) => `${rate.toFixed(1)} tokens/s (${processor.toFixed(2)} ms of processor a token)`,
    );
    console.log(`round ${round + 1}: alone ${said[0]}, served ${said[1]}`);
  }
  const median = (of: readonly number[]) =>
    quantile(
      of.toSorted((a, b) => a - b),
      0.5,
    ).toFixed(3);
  console.log(`served to alone, median of ${rounds}, ${callers} callers: throughput ${median(rates)}`);
  console.log(`processor time a token, server and client with the engine: ${median(costs)}`);
}

const model = await openLocalModel(values.model, { device: "cpu" });
const server = await serve({ models: new Map([["served", model.live()]]) });
try {
  const client = new OpenAI({ baseURL: server.url, apiKey: "none" });
  await openai(client, model);
  if (values.python) await harness(values.python, server.url, model);
  if (Number(values.rounds) > 0) await throughput(client, model, Number(values.rounds));
} finally {
  await server.close();
  await model.close();
}
