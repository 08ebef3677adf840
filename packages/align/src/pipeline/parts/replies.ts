import type { PromptRow, ResponseRow } from "@tenet/data";
import { respond, respondDependsOn } from "../../feedback/index.ts";
import type { PartContext } from "../context.ts";
import type { Expectation, Size } from "../expectation.ts";
import { asking, size } from "../sizes.ts";
import { itemStage, type Stage } from "../stages/index.ts";
import type { ModelValue, StoredRows } from "../values.ts";

type Sampling = NonNullable<Parameters<typeof respond>[1]["sampling"]> & { readonly maxTokens: number };

/** Replies of a model to prompts. */
export function responsesStage(
  { recipe: { seed } }: PartContext,
  part: {
    readonly name: string;
    readonly title: string;
    readonly prompts: Stage<StoredRows<PromptRow>>;
    readonly model: Stage<ModelValue>;
    readonly sampling: Sampling;
    readonly system?: string | undefined;
  },
): Stage<StoredRows<ResponseRow>> {
  const { name, title, prompts, model, sampling, system } = part;
  const options = { sampling, system, seed };
  return itemStage<PromptRow, ResponseRow>({
    name,
    title,
    kind: "respond",
    version: 1,
    seed,
    over: prompts,
    models: { generator: model },
    expect: (sized) => repliesTo(sized(prompts), { model, sampling, before: size(system) }),
    dependsOn: (row) => respondDependsOn(row, options),
    run: (rows, { generator }, call) => respond(rows, { ...options, generator: generator! }, call),
  });
}

/** What replies of a model to prompts come to, and take. `before`: tokens that are read beside the prompt. */
export function repliesTo(
  { rows, tokens }: Size,
  { model, sampling, before }: { readonly model: Stage; readonly sampling: Sampling; readonly before: number },
): Expectation {
  const { maxTokens, n = 1 } = sampling;
  const replies = rows * n;
  return {
    rows: replies,
    tokens: tokens + maxTokens,
    prompt: tokens,
    asked: [{ ...asking("generator", model, replies, tokens + before, maxTokens), shared: before }],
  };
}
