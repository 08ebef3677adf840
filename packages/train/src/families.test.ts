import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ExampleRow, type Message, type PreferenceRow, preferenceRowSchema, rowId } from "@tenet/data";
import { conversations, type Family, families, familyText, writeTinyModel } from "@tenet/fixtures";
import { type LocalModel, openLocalModel } from "@tenet/lm";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { trainDpo } from "./dpo.ts";
import { encodeReply } from "./encode.ts";
import { trainPreference } from "./preference.ts";
import { trainSft } from "./sft.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-families-"));
});
afterAll(() => rm(folder, { recursive: true }));

const question = conversations["further question"] as Message[];
const reply = "The Rhône:\n1. long\n2. wide";
const lora = { rank: 2, alpha: 4 };

async function open(family: Family): Promise<LocalModel> {
  const path = await writeTinyModel(join(folder, family.name), { text: familyText(family) });
  return openLocalModel(path, { device: "cpu", cacheDir: join(folder, "cache") });
}

function example(prompt: Message[], completion: string): ExampleRow {
  return { id: rowId("example", prompt, completion), origin: { parents: [] }, prompt, completion, weight: 1 };
}

async function finished<Result>(training: AsyncGenerator<unknown, Result>): Promise<Result> {
  for (;;) {
    const next = await training.next();
    if (next.done) return next.value;
  }
}

describe.each(families)("$name", (family) => {
  it("is trained for a step on the very tokens that generation is given and scores", async () => {
    const model = await open(family);
    try {
      const { prompt, completion } = encodeReply(model.text, question, reply);
      const end = model.text.traits!.end!;
      expect(prompt).toEqual(model.text.encodePrompt(question));
      expect(completion.slice(-end.length)).toEqual(end);
      // Cut before its end, a reply is what the generating graph can score: both sides see the same tokens, or they disagree.
      const { report } = await finished(
        trainSft({
          ...{ model, rows: [example(question, reply)], seed: 1, folder: join(folder, family.name, "sft") },
          settings: { lora, maxLength: prompt.length + completion.length - end.length, tooLong: "truncate" },
        }),
      );
      expect(report).toMatchObject({ steps: 1, aside: [], supervisedTokens: completion.length - end.length });
      for await (const { scores } of model.score([{ prompt: question, continuations: [reply] }])) {
        expect(scores[0]!.tokens).toHaveLength(report.supervisedTokens);
        expect(report.firstLoss * report.supervisedTokens).toBeCloseTo(-scores[0]!.logprob, 2);
      }
    } finally {
      await model.close();
    }
  });
});

/** Of the families whose templates are unlike ChatML: a thought in the last turn, an opened thought, spaces, a refused system turn. */
const unlike = families.filter(({ name }) => ["qwen-3", "deepseek-r1-distill", "mistral-3", "gemma-2"].includes(name));

describe.each(unlike)("$name", (family) => {
  let model: LocalModel;
  beforeAll(async () => {
    model = await open(family);
  });
  afterAll(() => model.close());

  const refusedTurns: Message[] = [
    { role: "system", content: "Be brief." },
    { role: "user", content: "Hello" },
    { role: "user", content: "Again" },
  ];
  const pair = (prompt: Message[], a: string, b: string): PreferenceRow =>
    preferenceRowSchema.parse({
      ...{ id: rowId("pair", prompt, a, b), origin: { parents: [] }, prompt, a, b, p: 1, label: "ai", weight: 1 },
    });
  const rows = [
    pair(question, reply, "An elm."),
    pair([{ role: "user", content: "Hi" }], "Yes.", "No."),
    pair(refusedTurns, "Yes.", "No."),
  ];
  const takes = family.name === "qwen-3" || family.name === "deepseek-r1-distill";

  it("learns preferences and, by DPO, a policy; a row that its template refuses is set aside with the reason", async () => {
    const preference = await finished(
      trainPreference({
        ...{ model, rows, seed: 1, folder: join(folder, family.name, "preference") },
        settings: { lora, validationShare: 0 },
      }),
    );
    const dpo = await finished(
      trainDpo({
        model,
        rows,
        seed: 1,
        folder: join(folder, family.name, "dpo"),
        settings: { lora },
      }),
    );
    const { aside } = dpo.report;
    expect(aside).toEqual(preference.report.aside);
    if (takes) return expect(aside).toEqual([]);
    expect(aside).toEqual([{ id: rows[2]!.id, reason: expect.stringContaining("the chat template refuses") }]);
    expect(preference.report.pairs).toBe(2);
  });
});
