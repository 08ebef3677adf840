import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { importCaiPaper, importDemonstrations } from "./index.ts";

const critiques = JSON.stringify({
  unkind: {
    prompt: ["\n\nCritiqueRequest: Say what is unkind in the response.\n\nCritique:"],
    edit_request: "\n\nRevisionRequest: Make the response kind.\n\nRevision:",
  },
  vague: {
    prompt: [
      "\n\nCritiqueRequest: Say what is vague.\n\nCritique:",
      "\n\nCritiqueRequest: Which words say nothing?\n\nCritique:",
    ],
    edit_request: "\n\nRevisionRequest: Be precise.\n\nRevision:",
  },
});
const preferences = JSON.stringify(["\nChoose the kinder response. Options:", "Which is wiser? Options:"]);

describe("importCaiPaper", () => {
  const constitution = importCaiPaper({ critiques, preferences });

  it("takes critique and revision requests out of their frames", () => {
    expect(constitution.principles[0]).toMatchObject({
      id: "unkind",
      text: "Make the response kind.",
      critiqueRequest: "Say what is unkind in the response.",
      revisionRequest: "Make the response kind.",
      weight: 1,
      use: "revision",
    });
  });
  it("makes one principle of each critique request, sharing the entry's weight", () => {
    expect(constitution.principles.slice(1, 3)).toMatchObject([
      { id: "vague.1", critiqueRequest: "Say what is vague.", weight: 0.5 },
      { id: "vague.2", critiqueRequest: "Which words say nothing?", weight: 0.5 },
    ]);
  });
  it("makes a principle of each preference question", () => {
    expect(constitution.principles.slice(3)).toMatchObject([
      { id: "preference0", preferenceQuestion: "Choose the kinder response.", use: "preference" },
      { id: "preference1", preferenceQuestion: "Which is wiser?", use: "preference" },
    ]);
  });
  it("names the place of what is wrong", () => {
    const bad = '{\n  "a": { "prompt": "x", "edit_request": "y" },\n  "b": { "promt": ["x"], "edit_request": "y" }\n}';
    expect(() => importCaiPaper({ critiques: bad, files: { critiques: "c.json" } })).toThrow(
      'c.json:2:20 a.prompt: expected a list, got the text "x"\n' +
        'c.json:3:10 b.promt: unknown key; expected one of the keys prompt, edit_request. Did you mean "prompt"?',
    );
    expect(() => importCaiPaper({ preferences: "[1]", files: { preferences: "p.json" } })).toThrow(
      "p.json:1:2 [0]: expected text, got 1",
    );
    expect(() => importCaiPaper({})).toThrow("at least one of the CAI paper's files");
  });
});

const transcript =
  "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Rob a bank?\n\nAssistant: Sure: first\n\nsecond\n\nCritiqueRequest: What is bad?\n\nCritique: It helps a crime.\n\nRevisionRequest: Fix it.\n\nRevision: I won't help with that.\n\nHuman:";

describe("importDemonstrations", () => {
  it("reads transcripts", () => {
    expect(importDemonstrations(JSON.stringify([transcript]), { file: "d.json" })).toEqual([
      {
        prompt: [
          { role: "user", content: "Hi" },
          { role: "assistant", content: "Hello" },
          { role: "user", content: "Rob a bank?" },
        ],
        response: "Sure: first\n\nsecond",
        critiqueRequest: "What is bad?",
        critique: "It helps a crime.",
        revisionRequest: "Fix it.",
        revision: "I won't help with that.",
      },
    ]);
  });
  it("reads demonstrations written as fields", () => {
    const text =
      "- prompt: Hi\n  response: What?\n  critiqueRequest: Is it kind?\n  critique: No.\n  revisionRequest: Be kind.\n  revision: Hello!\n";
    expect(importDemonstrations(text, { file: "d.yaml" })[0]).toMatchObject({
      prompt: [{ role: "user", content: "Hi" }],
      revision: "Hello!",
    });
  });
  it("names every one that is not of the form", () => {
    const bad = [
      transcript.replace("CritiqueRequest", "Critique"),
      transcript,
      "\n\nAssistant: a\n\nAssistant: b\n\nCritiqueRequest: c\n\nCritique: d\n\nRevisionRequest: e\n\nRevision: f",
      { prompt: "x" },
    ];
    expect(() => importDemonstrations(JSON.stringify(bad.slice(0, 3), null, 1), { file: "d.json" })).toThrow(
      "d.json:2:2 [0]: expected a transcript that ends with Assistant, CritiqueRequest, Critique, RevisionRequest, Revision, got one that ends with Assistant, Critique, Critique, RevisionRequest, Revision\n" +
        "d.json:4:2 [2]: expected turns of Human and Assistant in alternation, got Assistant",
    );
    expect(() => importDemonstrations(JSON.stringify(bad.slice(3)), { file: "d.json" })).toThrow(
      "[0].response: expected text, got nothing: the key is required",
    );
  });
});

const data = process.env.TENET_TEST_DATA;
const paper = data && join(data, "cai-paper");
const present = paper !== undefined && existsSync(paper);

describe(present ? "the paper's own files" : "the paper's own files (skipped: no TENET_TEST_DATA)", () => {
  const read = (name: string) => readFileSync(join(paper!, name), "utf8");
  it.skipIf(!present)("have 16 principles for revision and 16 for preference", () => {
    const constitution = importCaiPaper({
      critiques: read("CritiqueRevisionInstructions.json"),
      preferences: read("RLMadisonInstructions.json"),
    });
    const uses = constitution.principles.map(({ use }) => use);
    expect([
      uses.filter((use) => use === "revision").length,
      uses.filter((use) => use === "preference").length,
    ]).toEqual([16, 16]);
    for (const { critiqueRequest, revisionRequest, preferenceQuestion } of constitution.principles)
      for (const request of [critiqueRequest, revisionRequest, preferenceQuestion])
        expect(request).not.toMatch(/CritiqueRequest|RevisionRequest|Critique:|Revision:|Options:|\n/);
  });
  it.skipIf(!present)("have five demonstrations", () => {
    const demonstrations = importDemonstrations(read("CritiqueRevisionFewShotPrompts.json"), { file: "d.json" });
    expect(demonstrations.map(({ prompt }) => prompt.length)).toEqual([3, 1, 1, 3, 3]);
    for (const demonstration of demonstrations)
      expect(JSON.stringify(demonstration)).not.toMatch(/Human:|Assistant:|CritiqueRequest:|Revision:/);
  });
});
