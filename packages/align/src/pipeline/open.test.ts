import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { DocumentError } from "@tenet/data";
import { writeTinyModel } from "@tenet/fixtures";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openRecipe } from "./open.ts";

const folder = await mkdtemp(join(tmpdir(), "tenet-open-"));
beforeAll(() => writeTinyModel(join(folder, "model")));
afterAll(() => rm(folder, { recursive: true }));

const constitution = `name: kind
version: "1"
principles:
  - id: kind
    text: Be kind.
    checks:
      - mustNot: stupid
  - { id: brief, text: Be brief. }
`;
const row = (prompt: string) => `${JSON.stringify({ prompt })}\n`;
const pair = `${JSON.stringify({ prompt: "Hello", chosen: "Hi.", rejected: "No." })}\n`;

/** The files that stand beside a recipe; a test changes some. */
const files = {
  "kind.yaml": constitution,
  "unchecked.yaml": 'name: plain\nversion: "1"\nprinciples:\n  - { id: kind, text: Be kind. }\n',
  "prompts.jsonl": row("One") + row("Two"),
  "new.jsonl": row("Three"),
  "pairs.jsonl": pair,
  "texts.yaml": "- The sun is far away.\n",
  "choices.jsonl": `${JSON.stringify({ question: "Which is warm?", choices: ["The sun", "The moon"], answer: 0 })}\n`,
};
const judged = `${JSON.stringify({ prompt: "Hello", response: "Hi.", is_safe: true })}\n`;
type Files = { readonly [name: string]: string | Uint8Array };

const start = "model: ../model\nconstitution: kind.yaml\nprompts: { train: prompts.jsonl }\n";
const policy = "policy: { algorithm: ppo }\n";

let opened = 0;
async function messageOf(text: string | Uint8Array, changed: Files = {}): Promise<string> {
  const own = join(folder, `case-${opened++}`);
  await mkdir(own);
  for (const [name, content] of Object.entries({ ...files, ...changed, "recipe.yaml": text })) {
    await mkdir(dirname(join(own, name)), { recursive: true });
    await writeFile(join(own, name), content);
  }
  const error = await openRecipe(join(own, "recipe.yaml")).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error === undefined) return "opens";
  expect(error).toBeInstanceOf(DocumentError);
  return (error as DocumentError).message.replaceAll(`${own}/`, "").replaceAll(`${own}\\`, "");
}

/** A name, the recipe, what its message says, and files that are not as above. */
type Case = readonly [name: string, recipe: string | Uint8Array, says: readonly (string | RegExp)[], files?: Files];

const keys: readonly Case[] = [
  ["a misspelt key", `${start}sed: 3\n`, ["recipe.yaml:4:1 sed: unknown key; expected", 'Did you mean "seed"?']],
  [
    "a misspelt key within",
    `${start}supervised: { revisons: 2 }\n`,
    ["recipe.yaml:4:15 supervised.revisons: unknown key", 'Did you mean "revisions"?'],
  ],
  [
    "a key of another part",
    `${start}supervised: { algorithm: ppo }\n`,
    ["recipe.yaml:4:15 supervised.algorithm: unknown key"],
  ],
  [
    "two mistakes at once",
    `${start}sed: 3\nsupervised: { epoch: 2 }\n`,
    ["recipe.yaml:4:1 sed:", "recipe.yaml:5:15 supervised.epoch: unknown key", 'Did you mean "epochs"?'],
  ],
  [
    "no constitution",
    "model: ../model\nprompts: { train: prompts.jsonl }\n",
    ["recipe.yaml:1:1 constitution: expected", "got nothing"],
  ],
  [
    "no prompts to train on",
    "model: ../model\nconstitution: kind.yaml\nprompts: {}\n",
    ["recipe.yaml:3:10 prompts.train: expected text or a mapping (key: value), got nothing: the key is required"],
  ],
  ["a key twice", `${start}seed: 1\nseed: 2\n`, ['recipe.yaml:5:1: expected each key once, got "seed" a second time']],
];

const values: readonly Case[] = [
  ["text for a number", `${start}seed: many\n`, ['recipe.yaml:4:7 seed: expected a whole number, got the text "many"']],
  ["a fraction for a whole number", `${start}seed: 1.5\n`, ["recipe.yaml:4:7 seed: expected a whole number, got 1.5"]],
  [
    "a number out of range",
    `${start}supervised: { revisions: -1 }\n`,
    ["recipe.yaml:4:26 supervised.revisions: expected a number at least 0, got -1"],
  ],
  [
    "NaN",
    `${start}supervised: { learningRate: .nan }\n`,
    ["recipe.yaml:4:29 supervised.learningRate: expected a number", "got NaN"],
  ],
  [
    "infinity",
    `${start}supervised: { learningRate: .inf }\n`,
    ["recipe.yaml:4:29 supervised.learningRate: expected a number", "Infinity"],
  ],
  [
    "a list for a mapping",
    `${start}supervised: [2]\n`,
    ["recipe.yaml:4:13 supervised: expected a mapping (key: value), got a list of 1"],
  ],
  [
    "yes for true",
    `${start}feedback: { label: { swap: yes } }\n`,
    ['recipe.yaml:4:28 feedback.label.swap: expected true or false, got the text "yes"', 'Did you mean "true"?'],
  ],
  [
    "an unknown choice",
    `${start}supervised: { critique: { layout: turn } }\n`,
    ["recipe.yaml:4:35 supervised.critique.layout: expected", 'Did you mean "turns"?'],
  ],
  [
    "an unknown algorithm",
    `${start}policy: { algorithm: pop }\n`,
    [
      'recipe.yaml:4:22 policy.algorithm: expected one of "ppo", "grpo", "rloo", "dpo", "best-of-n"',
      'Did you mean "ppo"?',
    ],
  ],
  ["no algorithm", `${start}policy: { iterations: 3 }\n`, ["policy.algorithm: expected one of"]],
  [
    "a setting of another algorithm",
    `${start}policy: { algorithm: dpo, iterations: 3 }\n`,
    ["recipe.yaml:4:27 policy.iterations: unknown key"],
  ],
  [
    "bounds in the wrong order",
    `${start}feedback: { label: { cot: { clamp: [0.6, 0.4] } } }\n`,
    ["recipe.yaml:4:36 feedback.label.cot.clamp:", "the lower bound is above the upper one"],
  ],
  [
    "a name that is none for a file",
    `${start}name: a/b\n`,
    ["recipe.yaml:4:7 name: expected letters, digits, dots, dashes and underscores", '"a/b"'],
  ],
  [
    "a matrix that does not exist",
    `${start}supervised: { lora: { targets: [q_prj] } }\n`,
    ["supervised.lora.targets[0]: expected", 'Did you mean "q_proj"?'],
  ],
];

const models: readonly Case[] = [
  [
    "a server as the model that is trained",
    start.replace("../model", "http://localhost:8000/v1"),
    ["recipe.yaml:1:8 model: expected a local model, since it is trained", "roles.labeller"],
  ],
  [
    "a mapping as the model that is trained",
    start.replace("../model", "{ endpoint: http://localhost:8000/v1 }"),
    ["recipe.yaml:1:8 model: expected text, got a mapping"],
  ],
  [
    "a server as a role's local model",
    `${start}roles: { labeller: http://localhost:8000/v1 }\n`,
    [
      "recipe.yaml:4:20 roles.labeller: expected a local model; a server is written as { endpoint: http://localhost:8000/v1",
    ],
  ],
  [
    "an unknown name",
    start.replace("../model", "smollm2-135m-instuct"),
    ["recipe.yaml:1:8 model: expected a name of the catalogue", 'Did you mean "smollm2-135m-instruct"?'],
  ],
  [
    "a folder that is not there",
    start.replace("../model", "./modle"),
    ["recipe.yaml:1:8 model: expected", "./modle, which does not exist"],
  ],
  [
    "a misspelt role",
    `${start}roles: { labeler: ../model }\n`,
    ["recipe.yaml:4:10 roles.labeler: unknown key", 'Did you mean "labeller"?'],
  ],
  [
    "an address without a protocol",
    `${start}roles: { labeller: { endpoint: "localhost:8000" } }\n`,
    ["recipe.yaml:4:32 roles.labeller.endpoint: expected an address such as"],
  ],
  [
    "a password in an address",
    `${start}roles: { labeller: { endpoint: "http://u:p@localhost/v1" } }\n`,
    ["roles.labeller.endpoint:", "use apiKeyVariable"],
  ],
  [
    "a key for the name of its variable",
    `${start}roles: { labeller: { endpoint: "http://localhost/v1", apiKeyVariable: sk-0123456789abcdefghij } }\n`,
    [/apiKeyVariable: expected the name of an environment variable.*got a text that is not shown here$/],
  ],
  [
    "a key in a header",
    `${start}roles: { labeller: { endpoint: "http://localhost/v1", headers: { Authorization: Bearer x } } }\n`,
    ["roles.labeller.headers: a key in a header would be kept with the run"],
  ],
  [
    "an address without a protocol, beside keys that only a server has",
    `${start}roles: { labeller: { endpoint: "localhost:8000", model: m, concurrency: 4 } }\n`,
    ["recipe.yaml:4:32 roles.labeller.endpoint: expected an address such as"],
  ],
  [
    "an adapter that is no folder of one",
    `${start}roles: { judge: { model: ../model, adapter: sub } }\n`,
    [
      "recipe.yaml:4:45 roles.judge.adapter: expected the folder of an adapter in PEFT's format",
      "holds no adapter_config.json",
    ],
    { "sub/notes.txt": "x" },
  ],
];

const places: readonly Case[] = [
  [
    "a missing file, with the nearest",
    start.replace("prompts.jsonl", "promts.jsonl"),
    [
      "recipe.yaml:3:19 prompts.train: expected the path of a file, relative to the recipe, got promts.jsonl, which does not exist",
      'Did you mean "prompts.jsonl"?',
    ],
  ],
  [
    "a folder for a file",
    start.replace("prompts.jsonl", "."),
    ["recipe.yaml:3:19 prompts.train: expected the path of a file", "got the folder ."],
  ],
  [
    "a missing constitution",
    start.replace("kind.yaml", "kinde.yaml"),
    ["recipe.yaml:2:15 constitution: expected the path of a file", 'Did you mean "kind.yaml"?'],
  ],
  [
    "a missing file within a mapping",
    `${start}supervised: { helpful: { path: none.jsonl } }\n`,
    ["recipe.yaml:4:32 supervised.helpful.path: expected the path of a file", "none.jsonl, which does not exist"],
  ],
  [
    "several at once",
    `${start.replace("prompts.jsonl", "a.jsonl")}evaluate: { neutral: b.yaml }\n`,
    ["recipe.yaml:3:19 prompts.train:", "recipe.yaml:4:22 evaluate.neutral:"],
  ],
];

const contradicting: readonly Case[] = [
  [
    "nothing to learn",
    `${start}supervised: { revisions: 0 }\n`,
    ["recipe.yaml:4:26 supervised.revisions: expected at least 1", "got 0"],
  ],
  [
    "revisions to learn without any",
    `${start}supervised: { revisions: 0, examples: { unchanged: keep, from: every-revision } }\n`,
    ["supervised.examples.from: expected", 'got the text "every-revision"'],
  ],
  [
    "critiques to learn without any",
    `${start}supervised: { critique: { critiques: none }, examples: { from: critique-and-revision } }\n`,
    ["supervised.examples.from: expected", "there are no critiques to learn"],
  ],
  [
    "a judge that is trained for nothing",
    `${start}roles: { labeller: { train: { pairs: pairs.jsonl } } }\n`,
    ["recipe.yaml:4:29 roles.labeller.train: expected policy beside it", "a labeller alone"],
  ],
  [
    "a judge that is trained for a policy without labels",
    `${start}roles: { labeller: { train: { pairs: pairs.jsonl } } }\n${policy.replace("ppo", "ppo, reward: { preference: 0, constitution: 1 }")}`,
    ["recipe.yaml:4:29 roles.labeller.train: expected policy.reward.preference above 0"],
  ],
  [
    "a trained judge that is to reason",
    `${start}roles: { labeller: { train: { pairs: pairs.jsonl } } }\n${policy}feedback: { label: { method: cot } }\n`,
    ['recipe.yaml:6:30 feedback.label.method: expected "choice" beside roles.labeller.train', '"cot"'],
  ],
  [
    "a judge audited on what it learnt",
    `${start}roles: { labeller: { train: { pairs: pairs.jsonl, audit: { path: ./pairs.jsonl } } } }\n${policy}`,
    ["roles.labeller.train.audit.path: expected another file than the pairs it learns from", "./pairs.jsonl again"],
  ],
  [
    "weights in 8 bits of a model that servers hold",
    `${start}engine: { ray: "http://localhost:8265", generation: { endpoints: "http://localhost:8000/v1", adapters: ./adapters } }\ninference: { weights: int8 }\n`,
    ['inference.weights: expected "float32", or no engine.generation'],
  ],
  [
    "a training over weights in 8 bits of all weights, or of a model that an engine trains",
    `${start}engine: { ray: "http://localhost:8265" }\ntraining: { weights: int8 }\nsupervised: { weights: all }\n`,
    [
      'training.weights: expected "float32" beside supervised.weights: all',
      'training.weights: expected "float32": an engine holds the base',
    ],
  ],
  [
    "a value network on the policy's trunk that is to warm up, at a rate of its own",
    `${start}policy: { algorithm: ppo, value: { trunk: shared, warmup: 2, learningRate: 0.001 } }\n`,
    ["policy.value.warmup: expected value.trunk: own", "policy.value.learningRate: expected value.trunk: own"],
  ],
  [
    "principles for a preference model of people's labels",
    `${start}${policy}feedback: { label: { method: people } }\npreferenceModel: { given: {} }\n`,
    ["recipe.yaml:6:27 preferenceModel.given: expected another feedback.label.method than people"],
  ],
  [
    "principles for a preference model whose labels a judge gives in general",
    `${start}${policy}feedback: { label: { method: judge, judge: { format: auto-j } } }\npreferenceModel: { given: {} }\n`,
    ["recipe.yaml:6:27 preferenceModel.given: expected a judge with a place for a principle", "auto-j"],
  ],
  [
    "principles for a preference model that nobody needs",
    `${start}policy: { algorithm: ppo, reward: { preference: 0, constitution: 1 } }\npreferenceModel: { given: {} }\n`,
    ["recipe.yaml:5:27 preferenceModel.given: expected policy.reward.preference above 0", "principles for a"],
  ],
  [
    "principles for a preference model that reads none",
    `${start}policy: { algorithm: ppo, reward: { given: {} } }\n`,
    ["recipe.yaml:4:44 policy.reward.given: expected preferenceModel.given beside it"],
  ],
  [
    "no principle to judge by",
    `${start}policy: { algorithm: ppo, reward: { given: { count: 0 } } }\npreferenceModel: { given: {} }\n`,
    ["recipe.yaml:4:44 policy.reward.given: expected a count of at least 1, or always beside it"],
  ],
  [
    "principles to judge by that are none",
    `${start}policy: { algorithm: ppo, reward: { given: { negate: [kind, breif], categories: { a: [b] } } } }\npreferenceModel: { given: {} }\n`,
    [
      'recipe.yaml:4:61 policy.reward.given.negate[1]: expected the id of a principle of the constitution "kind": kind, brief',
      'got "breif". Did you mean "brief"?',
      /policy\.reward\.given\.categories\.a\[0\]: expected the id/,
    ],
  ],
  [
    "a cost by people of whom there are none",
    `${start}costModel: { by: people }\npolicy: { algorithm: ppo, constraint: { cost: model, bound: 0 } }\n`,
    ["recipe.yaml:4:18 costModel.by: expected costModel.human beside it"],
  ],
  [
    "a limit of no file",
    `${start}roles: { labeller: { train: { pairs: pairs.jsonl, audit: { limit: 3 } } } }\n${policy}`,
    ["roles.labeller.train.audit.limit: expected path beside it", "limit alone"],
  ],
  [
    "a misspelt key of a judge",
    `${start}roles: { labeller: { train: { pairs: pairs.jsonl, epoch: 3 } } }\n${policy}`,
    ["roles.labeller.train.epoch: unknown key", 'Did you mean "epochs"?'],
  ],
  [
    "a judge without pairs",
    `${start}roles: { labeller: { train: { epochs: 3 } } }\n${policy}`,
    ["roles.labeller.train.pairs: expected"],
  ],
  [
    "pairs of a judge that are none",
    `${start}roles: { labeller: { train: { pairs: prompts.jsonl } } }\n${policy}`,
    ["roles.labeller.train.pairs: ", "cannot be read as preferences"],
  ],
  [
    "a trained generator",
    `${start}roles: { generator: { train: { pairs: pairs.jsonl } } }\n${policy}`,
    ["roles.generator"],
  ],
  [
    "an audit without labels",
    `${start}feedback: { audit: { path: pairs.jsonl } }\n`,
    ["recipe.yaml:4:20 feedback.audit: expected policy beside it", "nothing is labelled"],
  ],
  [
    "demonstrations without labels",
    `${start}feedback: { demonstrations: pairs.jsonl }\n`,
    ["recipe.yaml:4:29 feedback.demonstrations: expected policy beside it", "nothing is labelled"],
  ],
  [
    "human pairs without a preference model",
    `${start}preferenceModel: { human: { path: pairs.jsonl } }\n`,
    ["recipe.yaml:4:27 preferenceModel.human: expected policy beside it"],
  ],
  [
    "rankings without a preference model",
    `${start}preferenceModel: { pretrain: pairs.jsonl }\n`,
    ["recipe.yaml:4:30 preferenceModel.pretrain: expected policy beside it"],
  ],
  [
    "rankings for a preference model that nothing needs",
    `${start}policy: { algorithm: dpo }\npreferenceModel: { pretrain: pairs.jsonl, human: { path: pairs.jsonl } }\n`,
    [
      /^recipe\.yaml:5:30 preferenceModel\.pretrain: expected policy\.reward\.preference above 0, or prompts\.heldOut and evaluate\.proxy: true, .* none is trained, got data for a preference model alone$/,
    ],
  ],
  [
    "human pairs for a preference model that nothing needs",
    `${start}policy: { algorithm: ppo, reward: { preference: 0, constitution: 1 } }\npreferenceModel: { human: { path: pairs.jsonl } }\n`,
    ["recipe.yaml:5:27 preferenceModel.human: expected policy.reward.preference above 0"],
  ],
  [
    "a proxy of nothing",
    `${start}evaluate: { proxy: true }\n`,
    ["recipe.yaml:4:20 evaluate.proxy: expected policy and prompts.heldOut beside it"],
  ],
  [
    "adapters on weights that were trained",
    `${start}supervised: { weights: all }\npolicy: { algorithm: ppo }\n`,
    ['recipe.yaml:4:24 supervised.weights: expected "lora" beside a policy'],
  ],
  [
    "a judge of nothing",
    `${start}roles: { judge: smollm2-135m-instruct }\n`,
    ["recipe.yaml:4:17 roles.judge: expected prompts.heldOut beside it"],
  ],
  [
    "a policy with nothing to reward",
    `${start}policy: { algorithm: ppo, reward: { preference: 0 } }\n`,
    ["recipe.yaml:4:35 policy.reward: expected a weight above 0", "got 0 for both"],
  ],
  [
    "a judge that learns from checks that are not there",
    `${start.replace("kind.yaml", "unchecked.yaml")}${policy}roles: { labeller: { train: { pairs: { from: checks } } } }\n`,
    ["recipe.yaml:5:46 roles.labeller.train.pairs.from: expected checks in the constitution", "which has none"],
  ],
  [
    "a reward of checks that are not there",
    `${start.replace("kind.yaml", "unchecked.yaml")}policy: { algorithm: ppo, reward: { constitution: 1 } }\n`,
    ["recipe.yaml:4:51 policy.reward.constitution: expected 0, or checks", 'the constitution "plain", which has none'],
  ],
  [
    "labels by checks that are not there",
    `${start.replace("kind.yaml", "unchecked.yaml")}${policy}feedback: { label: { constitutionFirst: { by: checks } } }\n`,
    ["feedback.label.constitutionFirst.by: expected checks in the constitution"],
  ],
  [
    "critiques by checks that are not there",
    `${start.replace("kind.yaml", "unchecked.yaml")}supervised: { critique: { critiques: checks } }\n`,
    ["recipe.yaml:4:38 supervised.critique.critiques: expected checks"],
  ],
  [
    "examples by checks that are not there",
    `${start.replace("kind.yaml", "unchecked.yaml")}supervised: { examples: { keep: checks-pass } }\n`,
    ["recipe.yaml:4:33 supervised.examples.keep: expected checks"],
  ],
  [
    "no principle for revisions",
    start,
    ["recipe.yaml:2:15 constitution: expected a principle with a weight above 0", 'use: "revision"'],
    {
      "kind.yaml": constitution
        .replaceAll("text: Be", "use: preference, text: Be")
        .replace("    use: preference, text: Be kind.", "    use: preference\n    text: Be kind."),
    },
  ],
  [
    "a budget in dollars without a price",
    `${start}roles:\n  labeller:\n    endpoint: http://localhost:8000/v1\n    budget: { usd: 5 }\n`,
    [
      "recipe.yaml:7:20 roles.labeller.budget.usd: expected a price above 0 beside the budget, as roles.labeller.price",
      "or budget.tokens",
      "got $5 without a price",
    ],
  ],
  [
    "a budget in dollars of what costs nothing",
    `${start}roles: { judge: { endpoint: "http://localhost:8000/v1", price: { prompt: 0, completion: 0 }, budget: { usd: 5 } } }\n`,
    ["roles.judge.budget.usd: expected a price above 0", "got $5 at a price of 0"],
  ],
  [
    "a budget for a local model, which has no price",
    `${start}roles: { labeller: { model: ../model, budget: { usd: 5 } } }\n`,
    ["recipe.yaml:4:39 roles.labeller.budget: unknown key; expected one of the keys model, adapter"],
  ],
  [
    "neutral texts without a scorecard",
    `${start}evaluate: { neutral: texts.yaml }\n`,
    ["recipe.yaml:4:22 evaluate.neutral: expected prompts.heldOut beside it"],
  ],
  [
    "baselines without a scorecard",
    `${start}evaluate: { baselines: [constant] }\n`,
    ["recipe.yaml:4:24 evaluate.baselines: expected prompts.heldOut beside it"],
  ],
  [
    "demonstrations to show that are not there",
    `${start}evaluate: { baselines: [demonstrations] }\n`,
    ["evaluate.baselines: expected supervised.demonstrations beside it"],
  ],
  [
    "pairs without reasoning to learn for who reasons",
    `${start}supervised: { deliberate: { by: checks } }\npolicy: { algorithm: dpo }\n`,
    [
      'recipe.yaml:5:22 policy.algorithm: expected "ppo", "grpo", "rloo" or "best-of-n" beside supervised.deliberate',
      "learns to answer without reasoning",
    ],
  ],
  [
    "reasoning to imitate beside pairs without it",
    `${start}arrangement: { steps: [policy] }\nsupervised: { deliberate: { by: checks } }\npolicy: { algorithm: dpo, imitate: {} }\n`,
    ['recipe.yaml:6:22 policy.algorithm: expected "ppo", "grpo", "rloo" or "best-of-n" beside supervised.deliberate'],
  ],
  [
    "replies without reasoning to avoid for who reasons",
    `${start}supervised: { deliberate: { by: checks } }\npolicy: { algorithm: ppo, avoid: {} }\n`,
    ["recipe.yaml:5:34 policy.avoid: expected none beside supervised.deliberate"],
  ],
  [
    "no room for reasoning and a reply",
    `${start}supervised: { deliberate: { by: checks } }\npolicy: { algorithm: ppo, maxTokens: 63 }\n`,
    ["recipe.yaml:5:38 policy.maxTokens: expected at least 64 beside supervised.deliberate", "got 63"],
  ],
  [
    "reasoning before more than one reply",
    `${start}supervised: { deliberate: { by: checks }, examples: { from: every-revision } }\n`,
    [
      'recipe.yaml:4:61 supervised.examples.from: expected "final" beside supervised.deliberate',
      'got the text "every-revision"',
    ],
  ],
  [
    "reasoning by a model beside revisions",
    `${start}supervised: { deliberate: { by: model } }\n`,
    [
      'recipe.yaml:4:33 supervised.deliberate.by: expected "checks", or supervised.revisions: 0',
      'got the text "model"',
    ],
  ],
  [
    "reasoning that a judge is to filter who is shown no principle",
    `${start}supervised: { revisions: 0, deliberate: { by: model, keep: { judge: 0.5, asking: { format: auto-j } } } }\n`,
    [
      "supervised.deliberate.keep.asking.format: expected a judge with a place for principles: auto-j judges in general",
      'got the text "auto-j"',
    ],
  ],
  [
    "reasoning by checks that are not there",
    `${start.replace("kind.yaml", "unchecked.yaml")}supervised: { deliberate: { by: checks } }\n`,
    ["recipe.yaml:4:33 supervised.deliberate.by: expected checks in the constitution", "which has none"],
  ],
  [
    "labels weighed that nobody makes",
    `${start}feedback: { weigh: {} }\n`,
    ["recipe.yaml:4:20 feedback.weigh: expected policy beside it", "got weighing alone"],
  ],
  [
    "labels weighed that nobody learns",
    `${start}policy: { algorithm: ppo, reward: { preference: 0, constitution: 1 } }\nfeedback: { weigh: {} }\n`,
    [
      "recipe.yaml:5:20 feedback.weigh: expected policy.reward.preference above 0, policy: { algorithm: dpo }, or prompts.heldOut and evaluate.proxy: true",
      "else no label is learnt, and none is weighed, got weighing alone",
    ],
  ],
  [
    "labels weighed by checks that are not there",
    `${start.replace("kind.yaml", "unchecked.yaml")}policy: { algorithm: ppo }\nfeedback: { weigh: {} }\n`,
    ["recipe.yaml:5:20 feedback.weigh: expected checks in the constitution", "which has none"],
  ],
  [
    "joint with a constitution that acts on labels nobody learns",
    `${start}policy: { algorithm: ppo, reward: { preference: 0, judge: { weight: 1 } } }\nfeedback: { label: { constitutionFirst: { by: checks } } }\narrangement: joint\n`,
    ["recipe.yaml:6:14 arrangement: expected something constitutional beside it", 'got "joint" without any'],
  ],
  [
    "labels by contrast of pairs that are made otherwise",
    `${start}policy: { algorithm: ppo }\nfeedback: { label: { method: contrast } }\n`,
    [
      "recipe.yaml:5:30 feedback.label.method: expected feedback.pairs.contrast: principle beside it",
      'got the text "contrast"',
    ],
  ],
  [
    "an audit of labels by contrast",
    `${start}policy: { algorithm: ppo }\nfeedback: { pairs: { contrast: principle }, label: { method: contrast }, audit: { path: pairs.jsonl } }\n`,
    ["recipe.yaml:5:81 feedback.audit: expected no audit beside feedback.label.method: contrast", "got an audit"],
  ],
  [
    "contrast with samples: 3",
    `${start}policy: { algorithm: ppo }\nfeedback: { pairs: { contrast: principle, samples: 3 } }\n`,
    ["recipe.yaml:5:32 feedback.pairs.contrast: expected neither samples nor pairs nor system beside it"],
  ],
  [
    "contrast with pairs: all",
    `${start}policy: { algorithm: ppo }\nfeedback: { pairs: { contrast: principle, pairs: all } }\n`,
    ["recipe.yaml:5:32 feedback.pairs.contrast: expected neither samples nor pairs nor system beside it"],
  ],
  [
    "contrast with system: Be brief.",
    `${start}policy: { algorithm: ppo }\nfeedback: { pairs: { contrast: principle, system: Be brief. } }\n`,
    ["recipe.yaml:5:32 feedback.pairs.contrast: expected neither samples nor pairs nor system beside it"],
  ],
  [
    "principles for a judge that is shown none",
    `${start}policy: { algorithm: ppo }\nfeedback: { label: { method: judge, judge: { format: auto-j }, principles: 2 } }\n`,
    ["recipe.yaml:5:76 feedback.label.principles: expected 1 beside the judge auto-j", "got 2"],
  ],
  [
    "an audit on nothing",
    `${start}policy: { algorithm: ppo }\nfeedback: { audit: { chance: 0.5 } }\n`,
    ["recipe.yaml:5:20 feedback.audit: expected one of path, a file of pairs", "got none"],
  ],
  [
    "known examples that the constitution does not have",
    `${start}policy: { algorithm: ppo }\nfeedback: { audit: { examples: true } }\n`,
    ["recipe.yaml:5:32 feedback.audit.examples: expected a principle for preference with an example", "which has none"],
  ],
  [
    "people who are asked nothing",
    `${start}policy: { algorithm: ppo }\nfeedback: { people: { each: 2 } }\n`,
    ["recipe.yaml:5:21 feedback.people: expected feedback.label.method: people", "got people alone"],
  ],
  [
    "a cost model that bounds nothing",
    `${start}costModel: { by: checks }\npolicy: { algorithm: ppo }\n`,
    [
      "recipe.yaml:4:12 costModel: expected policy.constraint: { cost: model, bound: 0 } beside it",
      "got a cost model alone",
    ],
  ],
  [
    "a preference model to go without where nothing else rewards",
    `${start}policy: { algorithm: ppo }\npreferenceModel: { gate: { refused: go-without } }\n`,
    [
      "recipe.yaml:5:37 preferenceModel.gate.refused: expected policy.reward with a weight beside that of preference",
      'got the text "go-without"',
    ],
  ],
  [
    "ratings of a labeller that knows letters only",
    `${start}roles: { labeller: { train: { pairs: pairs.jsonl } } }\npolicy: { algorithm: ppo, reward: { judge: { weight: 0.5 } } }\n`,
    ["recipe.yaml:5:44 policy.reward.judge: expected a labeller that can rate", "got roles.labeller.train"],
  ],
  [
    "a format of ratings that have no weight",
    `${start}policy: { algorithm: ppo, reward: { judge: { weight: 0, asking: { format: rating } } } }\n`,
    ["recipe.yaml:4:65 policy.reward.judge.asking: expected a weight above 0 beside it", "got asking with weight 0"],
  ],
  [
    "principles for ratings in general",
    `${start}policy: { algorithm: ppo, reward: { judge: { weight: 1, principles: 1, asking: { format: auto-j } } } }\n`,
    ["recipe.yaml:4:69 policy.reward.judge.principles: expected no principles beside asking.format: auto-j"],
  ],
  [
    "replies side by side where there is one",
    `${start}policy: { algorithm: ppo, reward: { judge: { weight: 1, asking: { format: auto-j, mode: relative } } } }\n`,
    ["policy.reward.judge.asking.mode: "],
  ],
  [
    "a principle to rate by that is not there",
    `${start}policy: { algorithm: ppo, reward: { judge: { weight: 1, principles: [kind, breif] } } }\n`,
    ["recipe.yaml:4:76 policy.reward.judge.principles[1]: expected the id of a principle", 'Did you mean "brief"?'],
  ],
  [
    "a principle to rate by that is there twice",
    `${start}policy: { algorithm: ppo, reward: { judge: { weight: 1, principles: [kind, kind] } } }\n`,
    ["recipe.yaml:4:76 policy.reward.judge.principles[1]: expected each id once"],
  ],
  [
    "tokens of a rating that is not written",
    `${start}policy: { algorithm: ppo, reward: { judge: { weight: 1, asking: { format: d-rlaif, maxTokens: 9 } } } }\n`,
    ["policy.reward.judge.asking.maxTokens: expected no maxTokens beside format: d-rlaif", "got 9"],
  ],
  [
    "ratings of what is shown in images",
    `${start}policy: { algorithm: ppo, reward: { judge: { weight: 1, asking: { format: prometheus-vision } } } }\n`,
    ["policy.reward.judge.asking.format: expected another format", 'got "prometheus-vision"'],
  ],
  [
    "a judge's format without a judge",
    `${start}evaluate: { judge: { format: prometheus-2 } }\n`,
    ["recipe.yaml:4:20 evaluate.judge: expected roles.judge beside it", "got a format alone"],
  ],
  [
    "a judge's format for one that is trained here",
    `${start.replace("prompts.jsonl", "prompts.jsonl, heldOut: new.jsonl")}roles: { judge: { train: { pairs: pairs.jsonl } } }\nevaluate: { judge: { format: prometheus-2 } }\n`,
    ["recipe.yaml:5:20 evaluate.judge: expected roles.judge beside it", "got a judge that the recipe trains"],
  ],
  [
    "a judge of images played by a model of texts",
    `${start}policy: { algorithm: ppo }\nfeedback: { label: { method: judge, judge: { format: prometheus-vision } }, audit: { path: pairs.jsonl } }\n`,
    [
      "roles.labeller: expected an endpoint whose model sees images",
      "beside feedback.label.judge: { format: prometheus-vision }: a local model is one of texts, got the recipe's model",
    ],
  ],
  [
    "a judge of images without any",
    `${start}policy: { algorithm: ppo }\nroles: { labeller: { endpoint: http://localhost:1/v1 } }\nfeedback: { label: { method: judge, judge: { format: prometheus-vision } }, audit: { examples: true } }\n`,
    [
      "recipe.yaml:6:54 feedback.label.judge.format: expected feedback.audit.path beside it, a file of pairs that show images",
      'got "prometheus-vision"',
    ],
  ],
  [
    "a judge of images for a local model's replies",
    `${start.replace("prompts.jsonl", "prompts.jsonl, heldOut: new.jsonl")}roles: { judge: { endpoint: http://localhost:1/v1 } }\nevaluate: { judge: { format: prometheus-vision } }\n`,
    ["recipe.yaml:5:30 evaluate.judge.format: expected another format: it rates replies of a local model"],
  ],
  [
    "questions without a scorecard",
    `${start}evaluate: { choices: choices.jsonl }\n`,
    ["recipe.yaml:4:22 evaluate.choices: expected prompts.heldOut beside it", "got questions alone"],
  ],
  [
    "a principle that must hold and is not there",
    `${start}evaluate: { mustHold: [kind, breif] }\n`,
    [
      'recipe.yaml:4:30 evaluate.mustHold[1]: expected the id of a principle of the constitution "kind": kind, brief',
      'got "breif". Did you mean "brief"?',
    ],
  ],
  [
    "unseen checks without a scorecard",
    `${start}evaluate: { unseen: kind.yaml }\n`,
    ["recipe.yaml:4:21 evaluate.unseen: expected prompts.heldOut beside it", "got checks alone"],
  ],
  [
    "unseen checks that training sees, of no principle of the constitution, and of one without any",
    "model: ../model\nconstitution: kind.yaml\nprompts: { train: prompts.jsonl, heldOut: new.jsonl }\nevaluate: { unseen: unseen.yaml }\n",
    [
      "recipe.yaml:4:21 evaluate.unseen: expected checks that training does not see",
      'got check 1 of "kind", which the constitution has too, under "kind"',
      'expected checks of principles of the constitution "kind": kind, brief',
      'some of "breif"',
      "expected a check of every principle that it names",
      'none of "brief"',
    ],
    {
      "unseen.yaml": constitution.replace(
        "  - { id: brief",
        "  - { id: breif, text: b, checks: [{ mustNot: z }] }\n  - { id: brief",
      ),
    },
  ],
  [
    "a persona without dialogues",
    `${start}roles: { persona: ../model }\n`,
    ["recipe.yaml:4:19 roles.persona: expected prompts.dialogue beside it", "got a persona alone"],
  ],
  [
    "a trained critic that is to write critiques",
    `${start}roles: { critic: { train: { pairs: pairs.jsonl } } }\npolicy: { algorithm: ppo, reward: { constitution: { weight: 1, by: critic } } }\n`,
    [
      "recipe.yaml:4:27 roles.critic.train: expected supervised.critique.critiques: checks beside it",
      "got critiques by the model",
    ],
  ],
  [
    "a trained critic that is to rate reasoning",
    `${start}roles: { critic: { train: { pairs: pairs.jsonl } } }\nsupervised: { revisions: 0, deliberate: { by: model, keep: { judge: 0.5 } } }\npolicy: { algorithm: ppo, reward: { constitution: { weight: 1, by: critic } } }\n`,
    ["recipe.yaml:4:27 roles.critic.train: expected no supervised.deliberate.keep beside it"],
  ],
  [
    "a trained critic that nobody asks",
    `${start}roles: { critic: { train: { pairs: pairs.jsonl } } }\narrangement: { steps: [policy] }\npolicy: { algorithm: ppo }\n`,
    ["recipe.yaml:4:27 roles.critic.train: expected something that asks it", "got a critic that is never asked"],
  ],
  [
    "a trained critic that is asked for labels nobody makes",
    `${start}roles: { critic: { train: { pairs: pairs.jsonl } } }\narrangement: { steps: [policy] }\npolicy: { algorithm: ppo, reward: { preference: 0, constitution: 1 } }\nfeedback: { label: { constitutionFirst: { by: critic } } }\n`,
    ["recipe.yaml:4:27 roles.critic.train: expected something that asks it", "got a critic that is never asked"],
  ],
  [
    "easy pairs for a trained critic",
    `${start}roles: { critic: { train: { pairs: pairs.jsonl, warmup: 3 } } }\narrangement: { steps: [policy] }\npolicy: { algorithm: ppo, reward: { constitution: { weight: 1, by: critic } } }\n`,
    ["recipe.yaml:4:57 roles.critic.train.warmup: expected none: easy pairs teach to compare two replies", "got 3"],
  ],
  [
    "a list of servers without the model's name",
    `${start}roles: { labeller: { endpoint: ["http://a:8000/v1", "http://b:8000/v1"] } }\n`,
    [
      "recipe.yaml:4:32 roles.labeller.endpoint: expected the model's name beside a list of servers, as roles.labeller.model",
      "got a list alone",
    ],
  ],
  [
    "held-out prompts that are trained on",
    start.replace("prompts.jsonl", "prompts.jsonl, heldOut: ./prompts.jsonl"),
    ["recipe.yaml:3:43 prompts.heldOut: expected another file than prompts.train"],
  ],
];

const syntax: readonly Case[] = [
  ["an empty file", "", ["recipe.yaml:1:1: expected a mapping (key: value), got nothing"]],
  ["text alone", "harmless\n", ["recipe.yaml:1:1: expected a mapping (key: value), got the text"]],
  ["an open bracket", `${start}roles: { labeller: m\nseed: 1\n`, [/recipe\.yaml:\d+:\d+: expected valid YAML/]],
  [
    "a tab for indentation",
    `${start}supervised:\n\trevisions: 2\n`,
    ["recipe.yaml:5:1: expected spaces for indentation, got a tab"],
  ],
  ["an unknown tag", `${start}seed: !!js/function "x"\n`, [/recipe\.yaml:4:7: expected a plain value/]],
  [
    "anchors that multiply",
    `a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b]\nd: [*c, *c, *c, *c, *c, *c, *c, *c]\n`,
    ["recipe.yaml: expected aliases that expand to at most 100 values"],
  ],
  ["levels without end", `seed: ${"[".repeat(500)}`, ["expected at most 64 levels"]],
  ["two documents", `${start}---\n${start}`, ['expected one document, got a second one after "---"']],
  [
    "another encoding than UTF-8",
    Uint8Array.from([...Buffer.from(`${start}# caf`), 0xe9, 10]),
    ["recipe.yaml:4:1: expected UTF-8 text"],
  ],
];

const inConstitution: readonly Case[] = [
  [
    "a misspelt key",
    start,
    ["kind.yaml:3:1 principels: unknown key", 'Did you mean "principles"?'],
    { "kind.yaml": constitution.replace("principles", "principels") },
  ],
  [
    "an unknown kind of check",
    start,
    ["kind.yaml:7:9 principles[0].checks[0].mustNott: unknown key", 'Did you mean "mustNot"?'],
    { "kind.yaml": constitution.replace("mustNot", "mustNott") },
  ],
  [
    "a bad pattern",
    start,
    ["kind.yaml:7:18 principles[0].checks[0].mustNot", "not a pattern", "missing closing"],
    { "kind.yaml": constitution.replace("stupid", '"(stupid"') },
  ],
  [
    "a pattern that looks behind",
    start,
    ["no lookbehind"],
    { "kind.yaml": constitution.replace("stupid", '"(?<=a)stupid"') },
  ],
  [
    "a version that is a number",
    start,
    ["kind.yaml:2:10 version: the version is text; write a number in quotes"],
    { "kind.yaml": constitution.replace('"1"', "1") },
  ],
  [
    "one id twice",
    start,
    ["kind.yaml:8:11 principles[1].id:", "principles[0] has it too"],
    { "kind.yaml": constitution.replace("id: brief", "id: kind") },
  ],
  [
    "no principles",
    start,
    ["kind.yaml:3:13 principles: expected at least 1 item, got an empty list"],
    { "kind.yaml": 'name: kind\nversion: "1"\nprinciples: []\n' },
  ],
  [
    "weights of 0",
    start,
    ["kind.yaml:4:3 principles: expected at least one principle with a weight above 0, got 0 for all"],
    { "kind.yaml": 'name: kind\nversion: "1"\nprinciples:\n  - { id: a, text: Be kind., weight: 0 }\n' },
  ],
];

const inData: readonly Case[] = [
  [
    "an empty prompt file",
    start,
    ["recipe.yaml:3:19 prompts.train:", "prompts.jsonl is empty"],
    { "prompts.jsonl": "" },
  ],
  [
    "a prompt file of blank lines",
    start,
    ["recipe.yaml:3:19 prompts.train:", "prompts.jsonl"],
    { "prompts.jsonl": "\n\n" },
  ],
  [
    "a prompt file whose every row is malformed",
    start,
    ["recipe.yaml:3:19 prompts.train:", "no usable record among the first 2", "At prompts.jsonl:1: not JSON"],
    { "prompts.jsonl": "{one\n{two\n" },
  ],
  [
    "rows without a prompt",
    start,
    ["recipe.yaml:3:19 prompts.train:", "cannot be read as prompts", "prompts.jsonl:1"],
    { "prompts.jsonl": '{"question": 1}\n{"question": 2}\n' },
  ],
  [
    "one JSON list",
    start,
    ["recipe.yaml:3:19 prompts.train:", "is one JSON list; expected one object a line"],
    { "prompts.jsonl": '[{"prompt": "One"}]' },
  ],
  [
    "UTF-16",
    start,
    ["recipe.yaml:3:19 prompts.train:", "is written in UTF-16; expected UTF-8"],
    { "prompts.jsonl": Buffer.from(`\ufeff${row("One")}`, "utf16le") },
  ],
  [
    "prompts where pairs are expected",
    `${start}${policy}feedback: { audit: { path: prompts.jsonl } }\n`,
    ["recipe.yaml:5:28 feedback.audit.path:", "cannot be read as preferences"],
  ],
  [
    "an empty file of what is only needed at the end",
    `${start.replace("prompts.jsonl", "prompts.jsonl, heldOut: new.jsonl")}`,
    ["recipe.yaml:3:43 prompts.heldOut:", "new.jsonl is empty"],
    { "new.jsonl": "" },
  ],
  [
    "neutral texts that are no list",
    `${start.replace("prompts.jsonl", "prompts.jsonl, heldOut: new.jsonl")}evaluate: { neutral: texts.yaml }\n`,
    ["recipe.yaml:4:22 evaluate.neutral:", "texts.yaml:1:1: expected a list, got a mapping"],
    { "texts.yaml": "text: The sun\n" },
  ],
  [
    "comparisons of which one letter is right more often",
    `${start}${policy}feedback: { demonstrations: compared.yaml }\n`,
    [
      "compared.yaml:1:1: expected an even number of demonstrations, so that as many right answers stand on (A) as on (B)",
    ],
    { "compared.yaml": "- { prompt: Hi, question: Which is kinder?, better: Hello., worse: No. }\n" },
  ],
  [
    "a comparison without the worse reply",
    `${start}${policy}feedback: { demonstrations: compared.yaml }\n`,
    ["compared.yaml:1:3 [0].worse: expected text, got nothing: the key is required"],
    { "compared.yaml": "- { prompt: Hi, question: Which is kinder?, better: Hello. }\n" },
  ],
  [
    "demonstrations of another kind",
    `${start}supervised: { demonstrations: shown.yaml }\n`,
    ["shown.yaml:1:3"],
    { "shown.yaml": "- 7\n" },
  ],
];

test("what the cases change opens as it stands", async () => {
  expect(await messageOf(start)).toBe("opens");
  const whole = `${start.replace("prompts.jsonl", "prompts.jsonl, heldOut: new.jsonl")}${policy}feedback: { audit: { path: pairs.jsonl } }\nevaluate: { neutral: texts.yaml }\nroles: { labeller: { endpoint: "http://localhost:8000/v1" } }\n`;
  expect(await messageOf(whole)).toBe("opens");
  const shown = `${start.replace("prompts.jsonl", "prompts.jsonl, heldOut: new.jsonl")}policy: { algorithm: dpo }\npreferenceModel: { pretrain: pairs.jsonl }\nevaluate: { proxy: true }\n`;
  expect(await messageOf(shown)).toBe("opens");
  for (const rest of [
    "policy: { algorithm: ppo, maxTokens: 64 }\n",
    "policy: { algorithm: dpo, avoid: {} }\narrangement: reverse\n",
    "policy: { algorithm: dpo, maxLength: 63 }\narrangement: { steps: [policy] }\n",
  ])
    expect(await messageOf(`${start}supervised: { deliberate: { by: checks } }\n${rest}`)).toBe("opens");
  for (const rest of ["policy: { algorithm: dpo }\n", policy])
    expect(await messageOf(`${start}feedback: { weigh: {} }\n${rest}`)).toBe("opens");
  expect(
    await messageOf(
      `${start.replace("prompts.jsonl", "prompts.jsonl, heldOut: new.jsonl")}feedback: { weigh: {} }\npolicy: { algorithm: ppo, reward: { preference: 0, constitution: 1 } }\nevaluate: { proxy: true }\n`,
    ),
  ).toBe("opens");
  const bounded = (more: string) => `${start}roles: { labeller: { endpoint: "http://localhost:8000/v1", ${more} } }\n`;
  expect(await messageOf(bounded("price: { prompt: 0, completion: 2 }, budget: { usd: 5 }"))).toBe("opens");
  expect(await messageOf(bounded("budget: { tokens: 1000 }"))).toBe("opens");
});

describe.each([
  ["a recipe with keys that are not: ", keys],
  ["a recipe with values that are not: ", values],
  ["a recipe whose models are not: ", models],
  ["a recipe whose files are not: ", places],
  ["a recipe that contradicts itself: ", contradicting],
  ["a recipe that is no document: ", syntax],
  ["a constitution: ", inConstitution],
  ["a dataset: ", inData],
] as const)("%s", (_, cases) => {
  test.each(cases.map((one) => ({ name: one[0], one })))("$name", async ({ one: [, recipe, says, changed] }) => {
    const message = await messageOf(recipe, changed);
    for (const part of says) expect(message).toMatch(part);
  });
});

describe("mistakes do not come in rounds:", () => {
  const bad = 'name: kind\nversion: 1\nprinciples: [{ id: kind, text: Be kind., checks: [{ mustNot: "(" }] }]\n';
  test.each<[string, string, readonly RegExp[]]>([
    [
      "the recipe's keys, its files and its constitution",
      `${start.replace("prompts.jsonl", "promps.jsonl")}sed: 3\n`,
      [
        /sed: unknown key/,
        /promps\.jsonl, which does not exist.*prompts\.jsonl/,
        /kind\.yaml:2.*version/,
        /kind\.yaml:3.*not a pattern/,
      ],
    ],
    [
      "a value and a file",
      `${start.replace("prompts.jsonl", "promps.jsonl")}seed: no\n`,
      [/seed: expected/, /promps\.jsonl, which does not exist/],
    ],
    [
      "a contradiction, a file and the constitution",
      `${start.replace("prompts.jsonl", "promps.jsonl")}evaluate: { neutral: texts.yaml }\n`,
      [/prompts\.heldOut beside it/, /promps\.jsonl/, /kind\.yaml:3/],
    ],
    [
      "a file that is missing where another is no dataset",
      start.replace("{ train: prompts.jsonl }", "{ train: kind.yaml, heldOut: gone.jsonl }"),
      [/kind\.yaml/, /gone\.jsonl, which does not exist/],
    ],
    [
      "the model and the constitution",
      `${start.replace("../model", "../modl")}sed: 3\n`,
      [/\.\.\/modl/, /kind\.yaml:2/, /sed/],
    ],
  ])("%s", async (_, recipe, says) => {
    const message = await messageOf(recipe, { "kind.yaml": bad });
    for (const part of says) expect(message).toMatch(part);
    // A line for each, and each once.
    expect(new Set(message.split("\n")).size).toBe(message.split("\n").length);
  });
  test("what is no mapping is told alone", async () => {
    expect(await messageOf(`${start}roles: 3\n`)).toMatch(/^recipe\.yaml:4:\d+ roles: expected/);
    expect(await messageOf("- 1\n")).toMatch(/recipe\.yaml/);
  });
});

describe("a limit", () => {
  const limited = async (text: string) => {
    const own = join(folder, `limited-${opened++}`);
    await mkdir(own);
    for (const [name, content] of Object.entries({
      ...files,
      "held.jsonl": row("Four"),
      "safety.jsonl": judged,
      "recipe.yaml": text,
    }))
      await writeFile(join(own, name), content);
    return openRecipe(join(own, "recipe.yaml"), { limit: 1 });
  };
  test("bounds every file that is learnt from, validated on or held out, and the prompts of an iteration", async () => {
    const { recipe, written } = await limited(`model: ../model
constitution: kind.yaml
prompts: { train: prompts.jsonl, validation: { path: new.jsonl, every: 2 }, heldOut: held.jsonl }
supervised: { helpful: { path: prompts.jsonl, limit: 2, replies: model } }
preferenceModel: { pretrain: pairs.jsonl, human: { path: pairs.jsonl, ratio: 2 } }
costModel: { human: { path: safety.jsonl } }
feedback: { audit: { path: pairs.jsonl } }
policy: { algorithm: ppo, constraint: { cost: model, bound: 0 } }
`);
    expect(written.costModel!.human).toEqual({ path: "safety.jsonl", limit: 1 });
    expect(written.prompts).toEqual({
      train: { path: "prompts.jsonl", limit: 1 },
      validation: { path: "new.jsonl", every: 2, limit: 1 },
      heldOut: { path: "held.jsonl", limit: 1 },
    });
    expect(written.supervised.helpful).toMatchObject({ path: "prompts.jsonl", limit: 1 });
    expect(written.preferenceModel).toMatchObject({
      pretrain: { path: "pairs.jsonl", limit: 1 },
      human: { path: "pairs.jsonl", limit: 1, ratio: 2 },
    });
    expect(written.policy).toMatchObject({ promptsPerIteration: 1 });
    // A gate that is given a pair or two refuses everybody.
    expect(written.feedback.audit).not.toHaveProperty("limit");
    expect(recipe.policy).toEqual(written.policy);
  });
  test("leaves a share what it is, and adds nothing that is not there", async () => {
    const { written } = await limited(start.replace("train: prompts.jsonl", "$&, validation: { share: 0.5 }"));
    expect(written.prompts.validation).toEqual({ share: 0.5, every: 1 });
    expect(written.supervised).not.toHaveProperty("helpful");
    expect(written.preferenceModel).not.toHaveProperty("human");
  });
});

test("ids that stand twice are set aside and counted, not refused", async () => {
  expect(await messageOf(start, { "prompts.jsonl": row("One") + row("One") })).toBe("opens");
});

test("a file whose name is none for a run gives the run a name all the same", async () => {
  const own = join(folder, "named");
  await mkdir(own);
  for (const [name, content] of Object.entries(files)) await writeFile(join(own, name), content);
  await writeFile(join(own, "- my récipe (2).yaml"), start);
  expect((await openRecipe(join(own, "- my récipe (2).yaml"))).name).toBe("my-r-cipe-2-");
});
