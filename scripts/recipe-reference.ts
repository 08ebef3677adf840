// Writes docs/recipe.md and docs/recipe.schema.json from the schema of recipes. `npm run docs` runs it.
import { realpathSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { recipeSchema, schemaReference } from "@tenet/align";

const introduction = `A recipe is a YAML or JSON file that says what is aligned, to which constitution, and how. This page is generated from its schema
(\`npm run docs\`). Paths are relative to the recipe's file. A key that is not here is an error that names the nearest valid one.

\`\`\`yaml
# yaml-language-server: $schema=../docs/recipe.schema.json
model: smollm2-135m-instruct
constitution: ../constitutions/clinical-desk.yaml
prompts: { train: ../prompts/clinical/train.jsonl, heldOut: ../prompts/clinical/held-out.jsonl }
feedback: { label: { method: checks } }
policy: { algorithm: ppo, iterations: 20 }
\`\`\`

The first line is for editors: with the [JSON Schema](recipe.schema.json) they complete keys and explain them. A mapping whose default is
\`{}\` takes the defaults of its own table. Which stage reads what: [critique and revision](critique-revision.md),
[fine-tuning](sft.md), [labels](labels.md), [preference model](preference-model.md), [PPO](ppo.md), [other algorithms](grpo-rloo-dpo.md),
[scorecard](scorecard.md).`;

/** The two files by their names in docs/. */
export function recipeReference(): Record<"recipe.md" | "recipe.schema.json", string> {
  const { markdown, jsonSchema } = schemaReference(recipeSchema, { title: "Recipe" });
  return {
    "recipe.md": markdown.replace("# Recipe\n", (heading) => `${heading}\n${introduction}\n`),
    "recipe.schema.json": `${JSON.stringify({ title: "A recipe of Tenet", ...jsonSchema })}\n`,
  };
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url))
  for (const [name, text] of Object.entries(recipeReference()))
    writeFileSync(new URL(`../docs/${name}`, import.meta.url), text);
