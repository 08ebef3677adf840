import type { ExportProof } from "@tenet/lm";
import { describe, expect, it } from "vitest";
import { parseConstitution } from "../constitution/index.ts";
import { type Asked, notCompared, promptsToReplay, proofLines, proofSection, readProof } from "./export-proof.ts";

const text = `name: letters
version: "1"
principles:
  - id: no-q
    text: Do not use the letter q.
    checks: [{ mustNot: q }]
`;
const constitution = parseConstitution(text, { file: "c.yaml" }).value;
const asked: Asked[] = Array.from({ length: 20 }, (_, i) => ({ prompt: [{ role: "user", content: `Say ${i}` }] }));

/** A proof in which so many of the replies break the principle before and after. */
function proof(before: number, after: number): ExportProof {
  const reply = (broken: boolean) => (broken ? "quite" : "fine");
  const replies = asked.map((_, i) => ({ prompt: i, before: reply(i < before), after: reply(i < after) }));
  return {
    runtime: "llama.cpp",
    prompts: 20,
    samePrompts: 20,
    injectable: 0,
    tokens: 40,
    untold: 0,
    allowed: { largest: 0.05, mean: 0.01, nearTie: 0.1 },
    largest: 0.01,
    mean: 0.001,
    replies,
    faults: [],
  };
}

it.each(["Q8_0", "Q4_0", "Q4_K"] as const)(
  "%s is held against as many prompts as show that more principles are broken",
  (type) => {
    expect(promptsToReplay({ type })).toBe(96);
    for (const whole of ["F32", "F16", "BF16"] as const) expect(promptsToReplay({ type: whole })).toBe(8);
  },
);

it.each([
  [40, 0, []],
  [36, 4, ["log-probabilities of 4 of 40 tokens: llama.cpp tells none"]],
  [0, 0, ["log-probabilities in llama.cpp: there was no reply with a token"]],
  // A fault, which says so.
  [0, 40, []],
])("of %i tokens that were compared and %i that were not, what was not verified is told", (tokens, untold, told) => {
  expect(notCompared({ runtime: "llama.cpp", tokens, untold })).toEqual(told);
});

describe("replies of an export, read by the constitution's checks", () => {
  it("may break principles as often as the interval of the checkpoint's own says", () => {
    const read = readProof(proof(2, 4), asked, constitution);
    expect(read).toMatchObject({ faults: [], replies: 20, sameReplies: 18 });
    expect(read.violations).toMatchObject({ before: { value: 0.1, n: 20 }, after: { value: 0.2, n: 20 } });
  });

  it.each([
    [2, 12],
    [18, 6],
  ])("of which %i broke one before and %i do now are another model's", (before, after) => {
    const { faults } = readProof(proof(before, after), asked, constitution);
    expect(faults.join()).toMatch(
      new RegExp(`break a principle in ${5 * after} % .* in llama\\.cpp, where the checkpoint's do in ${5 * before} %`),
    );
  });

  it("say nothing of principles where there are none, or where no check applies", () => {
    expect(readProof(proof(2, 12), asked, undefined)).not.toHaveProperty("violations");
    const raw = asked.map(() => ({ prompt: "raw" }));
    expect(readProof(proof(2, 12), raw, constitution)).toMatchObject({ faults: [] });
  });

  it("are counted where they part between two tokens that are nearly as likely, by what the type and the program allow", () => {
    const { replies, ...rest } = proof(2, 4);
    const parted = replies.map((reply, i) =>
      reply.before === reply.after ? reply : { ...reply, parts: { token: 3, ...(i === 2 ? { margin: 0.15 } : {}) } },
    );
    const read = (nearTie: number) =>
      readProof({ ...rest, replies: parted, allowed: { ...rest.allowed, nearTie } }, asked, constitution);
    expect(read(1)).toMatchObject({ sameReplies: 18, nearTies: 1 });
    expect(read(0.1)).toMatchObject({ sameReplies: 18, nearTies: 0 });
    const runtimes = [read(1)];
    const found = { part: "merged" as const, runtimes, faults: [], notices: [], unverified: ["vLLM"] };
    const lines = proofLines({ ...found, type: "F32" }).join("\n");
    expect(lines).toMatch(
      /^merged has the checkpoint's weights, number for number\n {2}in llama\.cpp: 20 of 20 prompts .* greedy replies the same in 18 of 20, 1 up to a near-tie, principles are broken in 20 % .* in 10 % /,
    );
    expect(lines).toContain("not verified: vLLM");
    expect(proofLines({ ...found, type: "Q4_0" })[0]).toBe(
      "merged has the checkpoint's weights rounded to Q4_0, number for number",
    );
  });

  it("tell, as no fault, where a program takes what a message says for a special token", () => {
    const found = { ...proof(2, 2), samePrompts: 18, injectable: 2 };
    const runtimes = [readProof(found, asked, constitution)];
    const part = { part: "gguf" as const, type: "F16" as const, runtimes, faults: [], notices: [], unverified: [] };
    const said = "2 with the text of a special token in a message, which is taken for the token there";
    expect(proofLines(part).join("\n")).toContain(`18 of 20 prompts became the same tokens, ${said}`);
    expect(proofSection([part]).join("\n")).toContain(`- gguf in llama.cpp: ${said}`);
  });

  it("stand in the card, faults first", () => {
    const runtimes = [readProof(proof(2, 12), asked, constitution)];
    const { faults } = runtimes[0]!;
    const section = proofSection([
      { part: "gguf", type: "F16", runtimes, faults, notices: ["a window"], unverified: ["vLLM"] },
    ]).join("\n");
    expect(section).toMatch(
      /\| gguf \| llama\.cpp \| 20 of 20 \| 40 \| 0\.0100 \| 0\.0010 \| 10 of 20 \| 10 % .* → 60 %/,
    );
    expect(section).toMatch(
      /\*\*gguf failed its proof\*\*: replies break.*\n- gguf: a window\n- gguf, not verified: vLLM/,
    );
    expect(proofSection([])).toEqual([]);
  });
});
