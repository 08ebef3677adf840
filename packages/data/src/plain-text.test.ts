import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { collect, type DatasetKinds, openDataset } from "./index.ts";

/*
 * Datasets as people publish and convert them: what is plainly something else than a text is read as what it is, or its row is set
 * aside with the reason; never taken literally.
 */

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-plain-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function read<As extends keyof DatasetKinds>(content: string | Uint8Array, as: As, name = "x.jsonl") {
  const path = join(folder, name);
  await writeFile(path, content);
  return collect(await openDataset(path, { as }));
}

const jsonl = (...records: readonly unknown[]) => records.map((record) => `${JSON.stringify(record)}\n`).join("");
const system = (content: string) => ({ role: "system" as const, content });
const user = (content: string) => ({ role: "user" as const, content });
const assistant = (content: string) => ({ role: "assistant" as const, content });
const good = { prompt: "Is rain wet?", chosen: "Yes.", rejected: "No.", completion: "Yes." };
const asked = [user("Is ice wet?")];

/** A record beside a good one: its row, or why there is none. */
async function row<As extends keyof DatasetKinds>(record: object | string, as: As) {
  const line = typeof record === "string" ? record : JSON.stringify(record);
  const { rows, asides } = await read(jsonl(good) + line, as);
  return { row: rows[1], reason: asides[0]?.reason };
}

describe("conversations as text", () => {
  const reply = 'It\'s so, "indeed".';
  const python = `[{'role': 'assistant', 'content': 'It\\'s so, "indeed".'}]`;
  it.each<[string, object]>([
    ["JSON", { prompt: JSON.stringify(asked), completion: JSON.stringify([assistant(reply)]) }],
    ["JSON in JSON", { prompt: JSON.stringify(JSON.stringify(asked)), completion: reply }],
    ["Python", { prompt: "[{'role': 'user', 'content': 'Is ice wet?'}]", completion: python }],
    ["one message", { prompt: "{'content': 'Is ice wet?', 'role': 'user'}", completion: reply }],
    [
      "NumPy, which sets no commas",
      {
        messages: `[{'content': 'Is ice wet?', 'role': 'user'}\n ${python.slice(1)}`,
      },
    ],
    [
      "NumPy's repr",
      { messages: `array([{'content': 'Is ice wet?', 'role': 'user'},\n       ${python.slice(1)}, dtype=object)` },
    ],
    ["an object around the list", { prompt: JSON.stringify({ messages: asked }), completion: reply }],
    [
      "ShareGPT's names",
      {
        conversations: [
          { from: "human", value: "Is ice wet?" },
          { from: "gpt", value: reply },
        ],
      },
    ],
    ["ShareGPT's names as text", { prompt: "[{'from': 'human', 'value': 'Is ice wet?'}]", completion: reply }],
    [
      "contents in parts",
      { messages: [{ role: "user", content: [{ type: "text", text: "Is ice wet?" }] }, assistant(reply)] },
    ],
  ])("are read: %s", async (_, record) => {
    const found = await row(record, "examples");
    expect(found).toMatchObject({ row: { prompt: asked, completion: reply } });
  });

  it.each<[string, object]>([
    ["cut off", { prompt: `${JSON.stringify(asked).slice(0, -4)}`, completion: "So." }],
    [
      "shortened by NumPy",
      { prompt: "[{'role': 'user', 'content': 'Hi'}, ..., {'role': 'user', 'content': 'Ho'}]", completion: "So." },
    ],
    ["inside other text", { prompt: `${JSON.stringify(asked)} (from the log)`, completion: "So." }],
    ["of other roles", { prompt: `[{'role': 'tool', 'content': 'Hi'}]`, completion: "So." }],
    ["a reply of Python's bytes", { prompt: "Why?", completion: "b'So.'" }],
    ["a missing value of pandas", { prompt: "Why?", completion: "nan" }],
  ])("are set aside: %s", async (_, record) => {
    const { row: found, reason } = await row(record, "examples");
    expect(found).toBeUndefined();
    expect(reason).toMatch(/as text|role is "tool"|Python|missing value/);
  });

  it("leave texts that only look a little like them", async () => {
    for (const prompt of [
      "[1, 2, 3]",
      '{"a": 1}',
      "[INFO] What is this?",
      "('a', 'b')",
      '"Why?"',
      "array(1)",
      "{role: user}",
    ])
      expect((await row({ prompt, completion: "None" }, "examples")).row?.prompt).toEqual([user(prompt)]);
  });

  it("are read line by line where Python printed the lines", async () => {
    const { rows } = await read("{'prompt': \"What's up?\", 'completion': 'So.', 'score': nan}\n", "examples");
    expect(rows).toMatchObject([{ prompt: [user("What's up?")], completion: "So." }]);
  });

  it("are counted in what is said of the file", async () => {
    const text = JSON.stringify([assistant("So.")]);
    const { notes } = await read(
      jsonl({ prompt: "a", completion: text }, { prompt: "b", completion: text }),
      "examples",
    );
    expect(notes).toEqual({ "completion was a conversation written as text": 2 });
  });
});

describe("a prompt beside whole conversations", () => {
  const before = [system("You sell bread."), user("Are you open?"), assistant("Until six."), user("And on Sundays?")];
  const pair = { chosen: [...before, assistant("No.")], rejected: [...before, assistant("Guess.")] };
  const hh = (reply: string) =>
    `\n\nHuman: Are you open?\n\nAssistant: Until six.\n\nHuman: And on Sundays?\n\nAssistant: ${reply}`;
  it.each<[string, object, object[]]>([
    ["the last question", { prompt: "And on Sundays?", ...pair }, before],
    ["the first", { prompt: "Are you open? \n", ...pair }, before],
    ["none", { prompt: "", ...pair }, before],
    ["the conversation without its system turn", { prompt: before.slice(1), ...pair }, before],
    [
      "a system turn that the conversations lack",
      { prompt: before, chosen: pair.chosen.slice(1), rejected: pair.rejected.slice(1) },
      before,
    ],
    [
      "a system turn in its own column",
      { system: "You sell bread.", prompt: "Are you open?", chosen: "No.", rejected: "Guess." },
      before.slice(0, 2),
    ],
    ["transcripts", { prompt: "And on Sundays?", chosen: hh("No."), rejected: hh("Guess.") }, before.slice(1)],
    [
      "what goes on behind it",
      { prompt: before.slice(0, 2), chosen: pair.chosen.slice(2), rejected: pair.rejected.slice(2) },
      before,
    ],
    [
      "conversations as text",
      { prompt: "Are you open?", chosen: JSON.stringify(pair.chosen), rejected: JSON.stringify(pair.rejected) },
      before,
    ],
    ["replies", { prompt: before, chosen: [assistant("No.")], rejected: [assistant("Guess.")] }, before],
  ])("is not all of it: %s", async (_, record, prompt) => {
    expect(await row(record, "preferences")).toMatchObject({ row: { prompt, a: "No.", b: "Guess." } });
    expect(await row(record, "prompts")).toMatchObject({ row: { prompt } });
    expect(await row(record, "examples")).toMatchObject({ row: { prompt, completion: "No." } });
  });

  it("counts with the conversation of messages and completion too", async () => {
    for (const record of [
      { prompt: "And on Sundays?", messages: pair.chosen },
      { prompt: "And on Sundays?", completion: pair.chosen },
    ])
      expect(await row(record, "examples")).toMatchObject({ row: { prompt: before, completion: "No." } });
    expect(await row({ prompt: "Are you open?", messages: pair.chosen }, "prompts")).toMatchObject({
      row: { prompt: before },
    });
  });

  it.each<[string, object]>([
    ["another question", { prompt: "Is it far?", ...pair }],
    ["another system turn", { system: "You sell fish.", prompt: "Are you open?", ...pair }],
    ["one transcript and one reply", { prompt: "And on Sundays?", chosen: hh("No."), rejected: "Guess." }],
    [
      "texts that begin with it",
      {
        prompt: "Are you open on Sundays?",
        chosen: "Are you open on Sundays? No.",
        rejected: "Are you open on Sundays? Guess.",
      },
    ],
  ])("is set aside where it is not known which counts: %s", async (_, record) => {
    const { row: found, reason } = await row(record, "preferences");
    expect(found).toBeUndefined();
    expect(reason).toMatch(/prompt|system/);
  });
});

describe("transcripts in a prompt", () => {
  const turns = [user("Is ice wet?"), assistant("On top."), user("And below?")];
  it.each([
    "\n\nHuman: Is ice wet?\n\nAssistant: On top.\n\nHuman: And below?\n\nAssistant:",
    "Human: Is ice wet?\n\nAssistant: On top.\n\nHuman: And below?\n\nAssistant:",
    "Human: Is ice wet?\nAssistant: On top.\nHuman: And below?\nAssistant:",
    "User: Is ice wet?\nAssistant: On top.\nUser: And below?",
    "### Human: Is ice wet?\n### Assistant: On top.\n### Human: And below?\n### Assistant: ",
    "USER: Is ice wet? ASSISTANT: On top. USER: And below? ASSISTANT:",
    "<human>: Is ice wet?\n<bot>: On top.\n<human>: And below?\n<bot>:",
  ])("are read: %j", async (prompt) => {
    expect(await row({ prompt, completion: "So." }, "examples")).toMatchObject({ row: { prompt: turns } });
    expect(await row({ prompt, chosen: " So.", rejected: "No." }, "preferences")).toMatchObject({
      row: { prompt: turns },
    });
  });

  it.each<[string, string]>([
    ["Human: Is ice wet?", "So."],
    ["Below is an instruction.\n\n### Instruction:\nIs ice wet?\n\n### Response:\n", "So."],
    ["Question: Is ice wet?\nAnswer:", "So."],
    ["Is ice wet?", "Assistant: On top."],
    ["Is ice wet?", "On top.\n\nHuman: And below?\n\nAssistant: No."],
    ["Is ice wet?", "Human: Is snow wet?\n\nAssistant: On top."],
  ])("and in a reply are set aside where they are in doubt: %j, %j", async (prompt, completion) => {
    const { row: found, reason } = await row({ prompt, completion }, "examples");
    expect(found).toBeUndefined();
    expect(reason).toMatch(/transcript|template|prompt/);
  });

  it("are none where a text speaks of people", async () => {
    for (const prompt of ["The user: who is it?", "Humans: a history. Write it.", "What does “Assistant:” mean?"])
      expect((await row({ prompt, completion: "So." }, "examples")).row?.prompt).toEqual([user(prompt)]);
  });
});

describe("completions that are not wanted", () => {
  it.each([false, 0, "false", "0.0", "-1", -1, "rejected", "undesirable", "bad"])("label %j", async (label) =>
    expect(await row({ prompt: "a", completion: "b", label }, "examples")).toMatchObject({
      row: undefined,
      reason: expect.stringContaining("not wanted"),
    }),
  );
  it("kto_tag false", async () =>
    expect((await row({ prompt: "a", completion: "b", kto_tag: false }, "examples")).row).toBeUndefined());
  it("other labels are no verdicts", async () => {
    for (const label of [true, 1, "ai", "safe", "chosen", null])
      expect((await row({ prompt: "a", completion: `b ${label}`, label }, "examples")).row).toBeDefined();
  });
});

describe("end marks spelt out", () => {
  it.each([
    "So.<|im_end|>",
    "So.</s>",
    "So. <end_of_turn>\n",
    "So.<|eot_id|><|eot_id|>",
    "<s>So.</s>",
    "So.<|END_OF_TURN_TOKEN|>",
  ])("are taken off a reply: %j", async (completion) => {
    expect(await row({ prompt: "Why?", completion }, "examples")).toMatchObject({ row: { completion: "So." } });
    const record = { prompt: "Why?", chosen: completion, rejected: [assistant("No.</s>")] };
    expect(await row(record, "preferences")).toMatchObject({ row: { a: "So.", b: "No." } });
  });

  it.each<[string, object]>([
    [
      "the next turn",
      { prompt: "Why?", completion: "So.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nThanks!" },
    ],
    [
      "a prompt rendered before",
      { prompt: "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n", completion: "So." },
    ],
    ["another", { prompt: "[INST] Why? [/INST]", completion: "So." }],
    ["Llama 3's", { prompt: "Be kind.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nWhy?", completion: "So." }],
    ["a reply before the last", { messages: [user("a"), assistant("b</s>c"), user("d"), assistant("So.")] }],
  ])("set a row aside otherwise: %s", async (_, record) => {
    const { row: found, reason } = await row(record, "examples");
    expect(found).toBeUndefined();
    expect(reason).toMatch(/spells out/);
  });

  it("may be spoken of", async () => {
    const record = { prompt: "What does <|im_end|> do?", completion: "`<|im_end|>` ends a turn." };
    expect(await row(record, "examples")).toMatchObject({ row: { prompt: [user(record.prompt)] } });
  });
});

describe("columns that are not read", () => {
  it.each<[string, string]>([
    ["NaN", '"margin": NaN, "low": -Infinity'],
    ["a megabyte", `"embedding": [${"0.125,".repeat(300_000)}0]`],
    ["a nested one", `"tree": ${"[".repeat(20_000)}${"]".repeat(20_000)}`],
    ["half a surrogate pair", '"author": "\\ud800"'],
    ["a conversation cut off", "\"text\": \"[{'role': 'user', 'content': 'Is\""],
  ])("cost no row: %s", async (_, column) => {
    const text = `{"prompt": "Is snow wet?", "chosen": "Yes.", "rejected": "No.", "completion": "So.", ${column}}`;
    for (const as of ["prompts", "examples", "preferences"] as const)
      expect((await row(text, as)).row?.prompt).toEqual([user("Is snow wet?")]);
  });

  it("are noted where a reader of before would have lost the row, and nothing else is", async () => {
    const { notes } = await read(`{"prompt": "Is snow wet?", "margin": NaN}\n${jsonl(good)}`, "prompts");
    expect(notes).toEqual({ "lines were no JSON, but what Python prints": 1 });
    const hh = { chosen: "\n\nHuman: a\n\nAssistant: b", rejected: "\n\nHuman: a\n\nAssistant: c" };
    expect((await read(jsonl(good, hh), "preferences")).notes).toEqual({});
  });

  it("cost no row where their bytes are not UTF-8", async () => {
    const bytes = (field: string) =>
      Buffer.from(`{"prompt": "Is it?", "${field}": "caf\u00e9", "completion": "So."}\n`, "latin1");
    const { rows, asides } = await read(
      Buffer.concat([Buffer.from(jsonl(good)), bytes("author"), bytes("prompt")]),
      "examples",
    );
    expect(rows.map(({ completion }) => completion)).toEqual(["Yes.", "So."]);
    expect(asides.map(({ reason }) => reason)).toEqual(["not UTF-8; expected text in UTF-8"]);
  });

  it("cost one where a text that is read is longer than a record may be", async () => {
    const { row: found, reason } = await row({ ...good, prompt: "wet ".repeat(300_000) }, "examples");
    expect(found).toBeUndefined();
    expect(reason).toContain("bytes long; a record may have 1048576");
  });
});
