import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import { imageText } from "@tenet/data";
import { tinyImage } from "@tenet/fixtures";
import { endpoint, type LanguageModel, type Message, scriptedModel } from "@tenet/lm";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { choiceJudge, comparePairs, expectedScores, formatJudge, judgedScores } from "../evaluate/index.ts";
import { promptKey } from "../evaluate/refusal.ts";
import { shownChains } from "../evaluate/shown.ts";
import { constitutionOf, outcomes } from "../feedback/fixture.ts";
import { critiqueAndRevise, labelPairs, respond } from "../feedback/index.ts";
import { pairKey } from "../feedback/pair-key.ts";
import { judgeAskingSchema, scoreByJudge } from "./judge.ts";
import { generalRubric } from "./rubric.ts";
import { verdicts } from "./verdict.ts";

/*
 * Images from a prompt to whoever is asked about it, over a server on the loopback interface.
 */

const constitution = constitutionOf([{ id: "seen", text: "Say what is to be seen." }]);
const [cat, dog] = [tinyImage(1), tinyImage(2)];
const about = (...images: string[]): Message[] => [
  { role: "user", content: "What is it?", ...(images.length > 0 && { images }) },
];
const vision = { ...judgeAskingSchema.parse({ format: "prometheus-vision", retries: 1 }), seed: 1 };

interface Shown {
  readonly text: string;
  readonly images: string[];
  readonly body: Record<string, unknown>;
}

/** A server that sees: it says "A cat." of the first image and "A dog." of the second, and judges a reply by that. */
async function openSeeingServer() {
  const asked: Shown[] = [];
  const http = createServer(async (request, response) => {
    response.setHeader("content-type", "application/json");
    if (request.url !== "/v1/chat/completions") return void response.writeHead(404).end("{}");
    const body = (await json(request)) as Record<string, unknown>;
    const { content } = (body.messages as { content: unknown }[]).at(-1)!;
    const parts = (Array.isArray(content) ? content : [{ type: "text", text: content }]) as {
      type: string;
      text?: string;
      image_url?: { url: string };
    }[];
    // Images come first, or not at all.
    expect(parts.map(({ type }) => type).join()).toMatch(/^(image_url,)*text$/);
    const images = parts.flatMap(({ image_url }) => image_url?.url ?? []);
    const text = parts.at(-1)!.text!;
    asked.push({ text, images, body });
    const right = images.includes(cat) ? "A cat." : images.includes(dog) ? "A dog." : "Nothing.";
    const told = text.split("###Response to evaluate:\n")[1]?.split("\n")[0];
    const option = text.includes(`(A) ${right}`) ? "A" : "B";
    const said = told
      ? `Feedback. So the overall score is ${told === right ? 5 : 2}.`
      : text.includes("(A)")
        ? option
        : right;
    const choices = [{ index: 0, message: { role: "assistant", content: said }, finish_reason: "stop" }];
    response.end(JSON.stringify({ choices, usage: { prompt_tokens: 9, completion_tokens: 4 } }));
  });
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  const { port } = http.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/v1`, asked, close: () => void http.close().closeAllConnections() };
}

let server: Awaited<ReturnType<typeof openSeeingServer>>;
let model: LanguageModel;
beforeAll(async () => {
  server = await openSeeingServer();
  model = endpoint({ baseUrl: server.url, model: "sees", dialect: "openai", retries: { perRequest: 0 } });
});
afterAll(async () => {
  await model.close();
  server.close();
});

const origin = { parents: [] };
const pair = (id: string, images: string[], a = "A cat.", b = "A dog.") => ({
  id,
  prompt: about(...images),
  a,
  b,
  origin,
});

describe("prometheus-vision behind a server", () => {
  it("sends the image before the words, and scores what it sees", async () => {
    const cases = ["A cat.", "A dog."].flatMap((response) =>
      [cat, dog].map((image) => ({
        shown: { prompt: about(image), responses: [response] as const, rubric: generalRubric },
        key: response,
      })),
    );
    const scores: number[] = [];
    for await (const answer of scoreByJudge(model, cases, vision))
      if ("score" in answer) scores[answer.request] = answer.score;
    expect(scores).toEqual([1, -0.5, -0.5, 1]);
    const { text, images, body } = server.asked.find((one) => one.text.includes("###Response to evaluate"))!;
    expect(images).toHaveLength(1);
    expect(text).not.toContain("base64");
    expect(body).toMatchObject({ temperature: 1, top_p: 0.9, max_tokens: 1024 });
  });

  it("does not ask about a prompt without an image, or with two, and says so", async () => {
    const before = server.asked.length;
    const rows = [[], [cat, dog], [cat]].map((images, i) => ({
      ...{ id: String(i), prompt: about(...images), response: "A cat.", finishReason: "stop" as const, origin },
    }));
    const found = await outcomes(judgedScores(rows, { judge: model, asking: vision, seed: 1 }));
    expect(found.get("0")).toMatchObject({ rows: [], aside: expect.stringContaining("the prompt shows no image") });
    expect(found.get("1")).toMatchObject({ rows: [], aside: expect.stringContaining("the prompt shows 2 images") });
    expect(found.get("2")!.rows).toMatchObject([{ score: 1 }]);
    expect(server.asked.length).toBe(before + 1);
  });

  it("labels and compares pairs; one without an image is set aside", async () => {
    const judge = { method: "judge" as const, judge: { format: "prometheus-vision" as const } };
    const pairs = [pair("1", [cat]), pair("2", [dog]), pair("3", [])];
    const labels = await outcomes(labelPairs(pairs, { constitution, labeller: model, seed: 1, ...judge }));
    expect(labels.get("1")!.rows).toMatchObject([{ p: 1, prompt: about(cat) }]);
    expect(labels.get("2")!.rows).toMatchObject([{ p: 0 }]);
    expect(labels.get("3")).toMatchObject({ rows: [], aside: expect.stringContaining("no image") });
    const who = formatJudge({ judge: model, asking: vision, seed: 1 });
    const compared = await outcomes(comparePairs(pairs, { judge: who, a: "rl", b: "base" }));
    expect(compared.get("2")!.rows).toMatchObject([{ winner: "b" }]);
    expect(compared.get("3")).toMatchObject({ rows: [], aside: expect.stringContaining("no image") });
  });
});

describe("our own questions show the images of what they quote", () => {
  it("a generator is shown them, and its reply's row keeps them", async () => {
    const prompts = [{ id: "p", prompt: about(dog), origin }];
    const found = await outcomes(respond(prompts, { generator: model, seed: 1 }));
    expect(found.get("p")!.rows).toMatchObject([{ prompt: about(dog), response: "A dog." }]);
  });

  it("a labeller and a judge by letters, and a critic", async () => {
    const labels = await outcomes(labelPairs([pair("1", [dog])], { constitution, labeller: model, seed: 1 }));
    expect(labels.get("1")!.rows).toMatchObject([{ p: 0 }]);
    const compared = comparePairs([pair("1", [dog])], { judge: choiceJudge(model), a: "rl", b: "base" });
    expect((await outcomes(compared)).get("1")!.rows).toMatchObject([{ winner: "b" }]);
    const before = server.asked.length;
    const asked = [{ prompt: about(cat), response: "A cat.", principle: "Say what is to be seen." }];
    for await (const answer of verdicts(model, asked, { seed: 1 })) expect(answer).toHaveProperty("breaks");
    for (const { images } of server.asked.slice(before)) expect(images).toEqual([cat]);
  });

  it("in a conversation, also to a model whose texts are scored as raw text", async () => {
    const seen: unknown[] = [];
    const raw = scriptedModel({ fallback: (_, { prompt }) => (seen.push(prompt) > 0 ? "B" : "") });
    const labeller: LanguageModel = {
      ...raw,
      capabilities: async () => ({
        ...(await raw.capabilities()),
        prefill: false,
        score: { raw: "continuations", chat: "none" },
      }),
    };
    const labels = await outcomes(labelPairs([pair("1", [dog])], { constitution, labeller, seed: 1, swap: false }));
    expect(labels.get("1")!.rows).toMatchObject([{ p: 0 }]);
    expect(seen[0]).toMatchObject([{ role: "user", images: [dog] }]);
  });

  it.each(["turns", "quoted"] as const)("a critic and a reviser of chains, where revisions are %s", async (layout) => {
    const row = { id: "r", prompt: about(cat), response: "A dog.", finishReason: "stop" as const, origin };
    const seen: Message[][] = [];
    const writer = scriptedModel({
      fallback: (_, { prompt }) => (seen.push(prompt as Message[]) > 0 ? "A cat, I think." : ""),
    });
    const options = { constitution, critic: writer, reviser: writer, seed: 1, rounds: 1, layout };
    await outcomes(critiqueAndRevise([row], options));
    expect(seen).toHaveLength(2);
    for (const prompt of seen) expect(prompt.flatMap(({ images = [] }) => images)).toEqual([cat]);
  });
});

it.each(["prometheus-2", "auto-j", "critique-llm"] as const)(
  "%s is not asked about what it would not see",
  async (format) => {
    const before = server.asked.length;
    const judge = { method: "judge" as const, judge: { format } };
    const labels = await outcomes(labelPairs([pair("1", [cat])], { constitution, labeller: model, seed: 1, ...judge }));
    expect(labels.get("1")).toMatchObject({ rows: [], aside: expect.stringContaining("this judge is one of texts") });
    expect(server.asked.length).toBe(before);
  },
);

it("a trained critic of texts is not asked about an image either", async () => {
  const row = { id: "r", prompt: about(cat), response: "A dog.", finishReason: "stop" as const, origin };
  const critic = scriptedModel({ fallback: "Firstly, it is no dog." });
  const options = { constitution, critic, reviser: critic, seed: 1, rounds: 1, format: "shepherd" as const };
  const found = await outcomes(critiqueAndRevise([row], options));
  expect(found.get("r")).toMatchObject({ rows: [], aside: expect.stringContaining("this judge is one of texts") });
});

it("a rating in words is asked for with every image", async () => {
  const seen: Message[][] = [];
  const judge = scriptedModel({ fallback: (_, { prompt }) => (seen.push(prompt as Message[]) > 0 ? "Rating: 7" : "") });
  const row = { id: "r", prompt: about(cat, dog), response: "A cat.", finishReason: "stop" as const, origin };
  const asking = judgeAskingSchema.parse({ format: "rating" });
  const found = await outcomes(judgedScores([row], { judge, asking, seed: 1 }));
  expect(found.get("r")!.rows).toHaveLength(1);
  expect(seen[0]).toMatchObject([{ role: "user", images: [cat, dog] }]);
});

it("prompts of the same words and other images are other prompts, and a scorecard tells them in words", () => {
  expect(promptKey({ prompt: about(cat) })).not.toBe(promptKey({ prompt: about(dog) }));
  const chain = { id: "c", prompt: about(cat), responses: ["A cat."], rounds: [], origin };
  expect(shownChains([chain], 1, 1)).toMatchObject([
    { prompt: [{ role: "user", content: `${imageText(cat)}\nWhat is it?` }] },
  ]);
});

it("what tells questions from one another has the image by its hash", async () => {
  const keys: string[] = [];
  const noting: LanguageModel = {
    ...model,
    generate(requests, options) {
      keys.push(...requests.map(({ key }) => key!));
      return model.generate(requests, options);
    },
  };
  const images = [pair("1", [cat]), pair("2", [dog])];
  for (const more of [{}, { method: "judge" as const, judge: { format: "prometheus-vision" as const } }]) {
    const labels = await outcomes(labelPairs(images, { constitution, labeller: noting, seed: 1, ...more }));
    expect(labels.get("2")!.rows).toMatchObject([{ p: 0 }]);
  }
  await outcomes(comparePairs(images, { judge: choiceJudge(noting), a: "rl", b: "base" }));
  for await (const _ of verdicts(noting, [{ prompt: about(cat), response: "A.", principle: "P." }], { seed: 1 }));
  expect(new Set(keys).size).toBeGreaterThan(8);
  for (const key of [...keys, pairKey(images[0]!), promptKey(images[0]!)]) expect(key).not.toContain("base64");
  expect(pairKey({ ...images[0]!, prompt: about(dog) })).not.toBe(pairKey(images[0]!));
});

it("a server whose model sees none sets the rows with images aside, whatever its status, and is asked once", async () => {
  let asked = 0;
  const fetch: typeof globalThis.fetch = async (input, init) => {
    if (!String(input).endsWith("/chat/completions")) return new Response("{}", { status: 404 });
    if (!String(init?.body).includes("image_url"))
      return Response.json({ choices: [{ index: 0, message: { content: "So." }, finish_reason: "stop" }] });
    asked++;
    const error = { code: 500, message: "image input is not supported - hint: provide the mmproj" };
    return Response.json({ error }, { status: 500 });
  };
  const blind = endpoint({ baseUrl: "http://x/v1", model: "m", dialect: "openai" }, { fetch });
  const rows = [about(cat), about()].map((prompt, i) => ({ id: String(i), prompt, origin }));
  const found = await outcomes(respond(rows, { generator: blind, seed: 1 }));
  expect(found.get("0")).toMatchObject({ rows: [], aside: expect.stringContaining("image input is not supported") });
  expect(found.get("1")!.rows).toMatchObject([{ response: "So." }]);
  // Once with the other, and once alone.
  expect(asked).toBeLessThanOrEqual(2);
  await blind.close();
});

it("an expected rating is asked for with the image", async () => {
  const seen: unknown[] = [];
  const judge = scriptedModel({ logprob: () => Math.log(0.1) });
  const noting: LanguageModel = {
    ...judge,
    score(requests, options) {
      seen.push(...requests.map(({ prompt }) => prompt));
      return judge.score(requests, options);
    },
  };
  const row = { id: "r", prompt: about(cat), response: "A cat.", finishReason: "stop" as const, origin };
  await outcomes(expectedScores([row], { judge: noting }));
  expect(seen[0]).toMatchObject([{ role: "user", images: [cat] }, {}]);
});
