import { cell, table } from "@tenet/data";
import { catalogue } from "@tenet/lm";
import type { Store } from "@tenet/runs";
import { stringify } from "yaml";
import { formatInterval, formatValue } from "../evaluate/format.ts";
import { parseScorecard, type Scorecard } from "../evaluate/index.ts";
import { openedOf, type StoredCheckpoint } from "./checkpoints.ts";
import { type Recipe, recipeSchema } from "./recipe.ts";

interface Card {
  readonly checkpoint: StoredCheckpoint;
  /** The base's name on the hub. */
  readonly base: string | undefined;
  /** What stands beside the card. */
  readonly written: readonly string[];
}

/** The README of an exported model: what it is, how to load it, what it was trained on, how it does, and what is known of its making. */
export async function modelCard(store: Store, run: string, { checkpoint, base, written }: Card): Promise<string> {
  const info = store.run(run);
  const { constitutionHash, ...settings } = info.recipe as Record<string, unknown>;
  const recipe = recipeSchema.safeParse(settings).data;
  const constitution = (await openedOf(store, run))?.constitution as Principles | undefined;
  const output = store.stage(run, "scorecard")?.output;
  const card = output === undefined ? undefined : parseScorecard(JSON.stringify(output));
  const licence = recipe === undefined ? undefined : catalogueEntry(recipe.model)?.licence;
  const datasets = written.filter((path) => path.startsWith("datasets/"));
  const stages = store.stages(run).filter(({ status }) => status === "done");
  const front = {
    ...(licence && { license: licence.toLowerCase() }),
    ...(base && { base_model: base }),
    library_name: written.includes("merged") ? "transformers" : "peft",
    pipeline_tag: "text-generation",
    tags: ["constitutional-ai", ...(checkpoint.id === "rl" ? ["rlaif"] : []), "tenet"],
  };
  const parts = [
    `---\n${stringify(front)}---`,
    `# ${cell(info.name)}: ${checkpoint.label}`,
    `${cell(base ?? recipe?.model ?? "A model")}, aligned to ${constitution ? `the constitution “${cell(constitution.name)}” (version ${cell(constitution.version)})` : "a constitution"} with Tenet: ${methodOf(recipe, checkpoint)}.`,
    ...usage(written, base),
    "## Trained on",
    table(
      ["stage", "kind", "rows", "set aside"],
      stages.map(({ name, kind, rows, aside }) => [name, kind, rows, aside]),
    ),
    ...(datasets.length > 0 ? [`The datasets are beside this card: ${datasets.join(", ")}.`] : []),
    ...(constitution
      ? ["### Principles", constitution.principles.map(({ id, text }) => `- **${cell(id)}**: ${cell(text)}`).join("\n")]
      : []),
    "## How it does",
    ...(card ? scores(card) : ["No scorecard was made of this run."]),
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

interface Principles {
  readonly name: string;
  readonly version: string;
  readonly principles: readonly { readonly id: string; readonly text: string }[];
}

function catalogueEntry(reference: string) {
  return Object.hasOwn(catalogue.models, reference) ? catalogue.models[reference] : undefined;
}

/** What was done, in a sentence's half. */
function methodOf(recipe: Recipe | undefined, { id }: StoredCheckpoint): string {
  const learning = "supervised learning on its own replies, criticised and revised under the principles";
  if (id !== "rl") return learning;
  const algorithm = recipe?.policy?.algorithm;
  return `${learning}; then reinforcement learning${algorithm ? ` (${algorithm})` : ""} from labels that a model gave`;
}

function usage(written: readonly string[], base: string | undefined): string[] {
  const code: string[] = [];
  if (written.includes("adapter"))
    code.push(
      `from peft import PeftModel\nfrom transformers import AutoModelForCausalLM\n\nbase = AutoModelForCausalLM.from_pretrained(${base ? JSON.stringify(base) : '"the base model"'})\nmodel = PeftModel.from_pretrained(base, "adapter")`,
    );
  if (written.includes("merged"))
    code.push(
      'from transformers import AutoModelForCausalLM, AutoTokenizer\n\nmodel = AutoModelForCausalLM.from_pretrained("merged")\ntokenizer = AutoTokenizer.from_pretrained("merged")',
    );
  return code.length > 0 ? ["## Use", ...code.map((text) => `\`\`\`python\n${text}\n\`\`\``)] : [];
}

/** The scorecard's measures by checkpoint, and what can be said of them. */
function scores({ checkpoints, metrics, rows, heldOut, verdict }: Scorecard): string[] {
  const head = ["", ...checkpoints.map(({ label }) => label)];
  const lines = metrics.map(({ name, label, unit }) => [
    label,
    ...checkpoints.map(({ id }) => {
      const row = rows.find((one) => one.checkpoint === id && one.metric === name);
      return row ? `${formatValue(row.value, unit)} (${formatInterval(row.interval, unit)})` : "";
    }),
  ]);
  return [
    `On ${heldOut.prompts} held-out prompts, with 95 % intervals:`,
    table(head, lines),
    verdict.sentences.map(cell).join(" "),
  ];
}
