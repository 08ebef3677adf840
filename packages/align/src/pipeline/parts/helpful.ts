import type { ExampleRow, ResponseRow } from "@tenet/data";
import { examplesFromResponses } from "../../feedback/index.ts";
import type { PartContext } from "../context.ts";
import { itemStage, type Stage } from "../stages/index.ts";
import type { ModelValue, StoredRows } from "../values.ts";
import type { ReadFile } from "./files.ts";
import { responsesStage } from "./replies.ts";

/** The file of what keeps a model helpful: examples, or prompts that a model answers itself. */
export function helpfulFile({ recipe }: PartContext, file: ReadFile) {
  const { replies, sampling: _, ratio: __, ...reference } = recipe.supervised.helpful!;
  return replies === "file"
    ? { examples: file({ name: "helpful", title: "helpful examples", reference, as: "examples" }) }
    : { prompts: file({ name: "helpful prompts", title: "helpful prompts", reference, as: "prompts" }) };
}

/** Examples that keep the model what it was: a file's, or its own replies to a file's prompts. METHODS §2. */
export function helpfulStage(
  context: PartContext,
  part: { readonly name: string; readonly model: Stage<ModelValue>; readonly file: ReadFile },
): Stage<StoredRows<ExampleRow>> {
  const { name, model, file } = part;
  const { sampling } = context.recipe.supervised.helpful!;
  const { examples, prompts } = helpfulFile(context, file);
  if (examples) return examples;
  const responses = responsesStage(context, {
    name: `${name} replies`,
    title: "the model's own helpful replies",
    prompts,
    model,
    sampling,
  });
  return itemStage<ResponseRow, ExampleRow>({
    name,
    title: "examples from helpful replies",
    kind: "examples-of-replies",
    version: 2,
    seed: context.recipe.seed,
    over: responses,
    dependsOn: ({ reasoning }) => (reasoning === undefined ? null : "behind its reasoning"),
    run: (rows) => examplesFromResponses(rows),
  });
}
