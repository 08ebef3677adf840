import { cell, table } from "@tenet/data";
import { catalogue } from "@tenet/lm";
import type { StageInfo, Store } from "@tenet/runs";
import { constitutionTerm } from "@tenet/train";
import { stringify } from "yaml";
import { formatEstimate, formatLabelCounts } from "../evaluate/format.ts";
import { parseScorecard, type Scorecard } from "../evaluate/index.ts";
import { cardFront } from "./card-front.ts";
import { openedOf, type StoredCheckpoint } from "./checkpoints.ts";
import { baseDifference, type ExportBase } from "./export-base.ts";
import { type PartProof, proofSection, type WrittenWeights } from "./export-proof.ts";
import { examplesBy, labelsBy, preferenceModelOf } from "./learnt-from.ts";
import { isAudited, learnsOwnReplies, type Recipe, recipeSchema, rewardsPreference } from "./recipe.ts";
import { wentWithout } from "./went-without.ts";

interface Card {
  readonly checkpoint: StoredCheckpoint;
  readonly base: ExportBase;
  /** What stands beside the card, and the weights among it. */
  readonly written: readonly string[];
  readonly weights?: readonly Pick<WrittenWeights, "part" | "type">[];
  /** What was found when the weights were opened again. */
  readonly proofs?: readonly PartProof[];
}

/** The README of an exported model: what it is, how to load it, what it was trained on, how it does, and what is known of its making. */
export async function modelCard(
  store: Store,
  run: string,
  { checkpoint, base, written, weights = [], proofs = [] }: Card,
): Promise<string> {
  const info = store.run(run);
  const { constitutionHash, ...settings } = info.recipe as Record<string, unknown>;
  const recipe = recipeSchema.safeParse(settings).data;
  const constitution = (await openedOf(store, run))?.constitution as Principles | undefined;
  const output = store.stage(run, "scorecard")?.output;
  const card = output === undefined ? undefined : parseScorecard(JSON.stringify(output));
  const licence = licenceOf(recipe?.model);
  const difference = baseDifference(base);
  const datasets = written.filter((path) => path.startsWith("datasets/"));
  const stages = store.stages(run).filter(({ status }) => status === "done");
  const measured = stages.filter(({ name, kind }) => isMeasured(name, kind));
  const reinforced = checkpoint.steps.includes("policy");
  const { from } = checkpoint;
  // A run of before there were arrangements has not noted what each checkpoint was made of.
  const wasUsed = ({ name, kind }: { name: string; kind: string }) =>
    from === undefined ? reinforced || !isReinforced(name, kind) : from.includes(name);
  const trained = stages.filter((stage) => !isMeasured(stage.name, stage.kind) && wasUsed(stage));
  const front = cardFront({
    ...{ name: info.name, licence, base: base.hub ?? base.insteadOf, weights, scorecard: card },
    ...{ checkpoint: checkpoint.id, reinforced },
  });
  const parts = [
    `---\n${stringify(front)}---`,
    `# ${cell(info.name)}: ${checkpoint.label}`,
    `${cell(base.hub ?? base.reference)}, aligned to ${constitution ? `the constitution “${cell(constitution.name)}” (version ${cell(constitution.version)})` : "a constitution"} with Tenet: ${methodOf(recipe, checkpoint, wentWithout(store, run))}.`,
    ...usage(written, base),
    ...(difference === undefined ? [] : ["## Base", `Of this model ${cell(difference)}`]),
    "## Trained on",
    stageTable(trained),
    ...writers(store, trained),
    ...(reinforced ? signals(store, run, recipe) : []),
    ...(datasets.length > 0 ? [`The datasets are beside this card: ${datasets.join(", ")}.`] : []),
    ...(constitution
      ? ["### Principles", constitution.principles.map(({ id, text }) => `- **${cell(id)}**: ${cell(text)}`).join("\n")]
      : []),
    "## Measured on",
    ...(measured.length > 0
      ? [
          "None of these rows was trained on: they are what the figures below, and those of the labels, were taken of.",
          stageTable(measured),
        ]
      : ["Nothing: no held-out prompts were given."]),
    "## How it does",
    ...(card ? scores(card) : ["No scorecard was made of this run."]),
    ...proofSection(proofs),
    "## Provenance",
    table(
      ["", ""],
      [
        ["run", run],
        ["begun", info.created],
        ...(recipe ? [["seed", recipe.seed] as [string, number]] : []),
        ...(typeof constitutionHash === "string" ? [["constitution", constitutionHash] as [string, string]] : []),
        ...stages.flatMap(({ name, artifacts }) =>
          artifacts.map((hash): [string, string] => [`${name} (SHA-256)`, hash]),
        ),
        ...Object.entries(info.versions),
      ],
    ),
    "## Limits",
    "The checks behind the figures find what a program can tell for certain, and nothing else. The figures hold for the held-out prompts of the recipe; whoever uses the model elsewhere measures it there first.",
    "## Licence",
    licence === undefined
      ? "To be filled in: the base model's licence, which these weights are under, and yours for the datasets."
      : `The base model is under ${licence}. To be filled in: your own terms for the adapter and the datasets.`,
  ];
  return `${parts.join("\n\n")}\n`;
}

/** Kinds of stages that look at models and labels, and names of those whose kind does other work too. */
const measuring = new Set([
  ...[
    "texts",
    "score-texts",
    "score-responses",
    "pair-responses",
    "compare",
    "rate",
    "constant-responses",
    "critic-costs",
  ],
  ...["audit-pairs", "audit", "scorecard", "read-choices", "answer-choices", "example-pairs"],
  ...["read-opinions", "answer-opinions"],
]);
const measuringNames =
  /^(held-out|known|(\w+ )?audit (pairs|labels|file)|\w+ pairs to audit|answers of .*|validation.*)$/;

export function isMeasured(name: string, kind: string): boolean {
  return measuring.has(kind) || measuringNames.test(name);
}

/** What reinforcement learning alone was made of. */
function isReinforced(name: string, kind: string): boolean {
  const kinds = ["pairs", "label", "human-labels", "given", "preference-model", "policy"];
  return kinds.includes(kind) || /^(human pairs|rankings|preferences|labeller .*)$/.test(name);
}

function stageTable(stages: readonly { name: string; kind: string; rows: number; aside: number }[]): string {
  return table(
    ["stage", "kind", "rows", "set aside"],
    stages.map(({ name, kind, rows, aside }) => [name, kind, rows, aside]),
  );
}

/** Whose words the examples were, where some are people's. */
function writers(store: Store, trained: readonly StageInfo[]): string[] {
  const examples = examplesBy(store, trained);
  if (!examples || examples.people === 0) return [];
  const { people, all } = examples;
  return [
    people === all
      ? `All ${all} examples were written by people.`
      : `Of ${all} examples ${people} were written by people.`,
  ];
}

/** Whose labels they were, and what is known of the preference model. */
function signals(store: Store, run: string, recipe: Recipe | undefined): string[] {
  const counts = labelsBy(store, run);
  const preferences = preferenceModelOf(store, run);
  const said: string[] = [];
  if (counts) said.push(`Labelled pairs: ${formatLabelCounts(counts)}.`);
  if (counts?.ai && recipe && !isAudited(recipe)) said.push("What the model's labels are worth was not audited.");
  if (preferences) {
    const { accuracy, pairs } = preferences;
    said.push(
      accuracy.n === 0
        ? `The preference model learnt ${pairs} pairs and was tested on none.`
        : `The preference model learnt ${pairs} pairs; on ${accuracy.n} that it never saw it is right in ${formatEstimate(accuracy, "share")}.`,
    );
  }
  return said.length > 0 ? [said.join(" ")] : [];
}

interface Principles {
  readonly name: string;
  readonly version: string;
  readonly principles: readonly { readonly id: string; readonly text: string }[];
}

/** The licence of a model of the catalogue. */
export function licenceOf(reference: string | undefined): string | undefined {
  if (reference === undefined || !Object.hasOwn(catalogue.models, reference)) return undefined;
  return catalogue.models[reference]!.licence;
}

/** What was done, in a sentence's half. @param without whether the policy learnt without its preference model */
function methodOf(recipe: Recipe | undefined, { steps }: StoredCheckpoint, without: boolean): string {
  const sources = [
    ...(!recipe || learnsOwnReplies(recipe) ? ["its own replies, criticised and revised under the principles"] : []),
    ...(recipe?.supervised.written === undefined ? [] : ["examples that people wrote"]),
  ];
  const learning = `supervised learning on ${sources.join(", and on ")}`;
  const policy = recipe?.policy;
  const constitutional = policy === undefined ? "" : rewardedBy(policy);
  const from =
    policy === undefined
      ? ""
      : policy.algorithm === "dpo"
        ? " from labelled pairs"
        : rewardsPreference(policy) && !without
          ? ` against a preference model of labelled pairs${constitutional === "" ? "" : ` and ${constitutional}`}`
          : ` against ${constitutional || "a model's ratings of its replies"}${without ? ", without the preference model, which its gate refused" : ""}`;
  const reinforcing = `reinforcement learning${policy ? ` (${policy.algorithm})` : ""}${from}`;
  const [first, second] = [...new Set(steps)].map((step) => (step === "supervised" ? learning : reinforcing));
  const times = steps.length > 2 ? `; ${steps.length} steps in all` : "";
  return second === undefined ? `${first}${times}` : `${first}; then ${second}${times}`;
}

function usage(written: readonly string[], { hub, insteadOf, gguf }: ExportBase): string[] {
  const code: string[] = [];
  if (written.includes("adapter")) {
    const others = insteadOf === undefined ? "" : "# Not the weights that it was trained on: see Base.\n";
    code.push(
      `from peft import PeftModel\nfrom transformers import AutoModelForCausalLM\n\n${others}base = AutoModelForCausalLM.from_pretrained(${JSON.stringify(hub ?? insteadOf ?? "the base model")})\nmodel = PeftModel.from_pretrained(base, "adapter")`,
    );
  }
  if (written.includes("merged"))
    code.push(
      'from transformers import AutoModelForCausalLM, AutoTokenizer\n\nmodel = AutoModelForCausalLM.from_pretrained("merged")\ntokenizer = AutoTokenizer.from_pretrained("merged")',
    );
  const shown = code.map((text) => `\`\`\`python\n${text}\n\`\`\``);
  const adapter = "gguf/adapter.gguf";
  const model = written.find((path) => path.endsWith(".gguf") && path !== adapter);
  if (model !== undefined)
    shown.push(
      `\`\`\`sh\nllama-server -m ${model}\nollama create my-model -f gguf/Modelfile && ollama run my-model\n\`\`\``,
    );
  if (written.includes(adapter))
    shown.push(`\`\`\`sh\nllama-server -m ${gguf?.file ?? "base.gguf"} --lora ${adapter}\n\`\`\``);
  if (written.includes("onnx"))
    shown.push(
      '```js\nimport { pipeline } from "@huggingface/transformers";\n\nconst generate = await pipeline("text-generation", "onnx");\nawait generate([{ role: "user", content: "Hello" }], { max_new_tokens: 64 });\n```',
    );
  return shown.length > 0 ? ["## Use", ...shown] : [];
}

/** The scorecard's measures by checkpoint, and what can be said of them. */
function scores(card: Scorecard): string[] {
  const { checkpoints, metrics, rows, heldOut, verdict, baselines, independence } = card;
  const columns = (of: readonly { id: string; label: string }[]) => {
    const lines = metrics.flatMap(({ name, label, unit, madeByLimit }) => {
      const found = of.map(({ id }) => rows.find((one) => one.checkpoint === id && one.metric === name));
      if (found.every((row) => row === undefined)) return [];
      const figures = found.map((row) => (row ? formatEstimate(row, unit) : ""));
      return [[madeByLimit ? `${label} (made by the recipe's limit of tokens)` : label, ...figures]];
    });
    return table(["", ...of.map(({ label }) => label)], lines);
  };
  return [
    `On ${heldOut.prompts} held-out prompts, with 95 % intervals:`,
    columns(checkpoints),
    verdict.sentences.map(cell).join(" "),
    ...(baselines
      ? ["The same prompts without training:", columns(baselines.models), baselines.sentences.map(cell).join(" ")]
      : []),
    ...(independence?.kind === "none" ? [`No independent judge: ${cell(independence.why)}`] : []),
  ];
}

/** Who says for the reward how far a reply keeps to the constitution; nothing where nobody does. */
function rewardedBy(policy: NonNullable<Recipe["policy"]>): string {
  if (!("reward" in policy)) return "";
  const { weight, by } = constitutionTerm(policy.reward);
  if (weight === 0) return "";
  return {
    checks: "the constitution's checks",
    critic: "a critic's verdicts",
    both: "the constitution's checks and a critic's verdicts",
  }[by];
}
