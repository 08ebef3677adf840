import type { ChainRow, ExampleRow, ResponseRow } from "@tenet/data";
import {
  critiqueAndRevise,
  critiqueDependsOn,
  demonstrationsUnder,
  examplesDependsOn,
  examplesFromChains,
} from "../../feedback/index.ts";
import type { PartContext } from "../context.ts";
import type { Expectation, Size } from "../expectation.ts";
import { asking, lengthOf, mean, perMessage, size, sizes } from "../sizes.ts";
import { itemStage, type Stage } from "../stages/index.ts";
import type { ModelValue, StoredRows } from "../values.ts";

/** Critique–revision chains behind first responses. METHODS §2. */
export function chainsStage(
  context: PartContext,
  part: {
    readonly name: string;
    readonly responses: Stage<StoredRows<ResponseRow>>;
    readonly critic: Stage<ModelValue>;
    readonly reviser: Stage<ModelValue>;
  },
): Stage<StoredRows<ChainRow>> {
  const { recipe, constitution, demonstrations } = context;
  const { seed, supervised } = recipe;
  const { name, responses, critic, reviser } = part;
  const options = { ...supervised.critique, rounds: supervised.revisions, constitution, demonstrations, seed };
  return itemStage<ResponseRow, ChainRow>({
    name,
    title: "critique and revision",
    kind: "critique-revision",
    // Since 2 a chain says whether its last response was cut, which counts where it is learnt unrevised.
    version: supervised.examples.unchanged === "keep" ? 2 : 1,
    seed,
    over: responses,
    expect: (sized) => expectedChains(context, sized(responses), { critic, reviser }),
    // Who is not asked does not count: another critic redoes nothing where the checks write the critiques.
    models: { ...(options.critiques === "model" && { critic }), reviser },
    dependsOn: (row) => critiqueDependsOn(row, options),
    run: (rows, models, call) => {
      const speakers = { critic: models.critic ?? models.reviser!, reviser: models.reviser! };
      return critiqueAndRevise(rows, { ...options, ...speakers }, call);
    },
  });
}

/** What critics and revisers are asked for replies of some size. */
function expectedChains(
  { recipe: { supervised }, constitution: { principles }, demonstrations }: PartContext,
  { rows, tokens, prompt }: Size,
  { critic, reviser }: { readonly critic: Stage; readonly reviser: Stage },
): Expectation {
  const { revisions: rounds, critique: settings } = supervised;
  // Under each principle its own.
  const shown = mean(
    principles.map(({ id }) =>
      demonstrationsUnder(demonstrations, id).reduce(
        (sum, { prompt: asked, principles: _, ...texts }) => sum + lengthOf(asked) + sizes(texts),
        0,
      ),
    ),
  );
  const critiqueRequest = mean(principles.map((principle) => size(principle.critiqueRequest)));
  const revisionRequest = mean(principles.map((principle) => size(principle.revisionRequest)));
  const reply = Math.max(tokens - prompt, settings.revision.maxTokens);
  const read = prompt + reply + shown + size(settings.system) + perMessage * 2;
  const critiqued = settings.critiques === "model";
  const written = settings.critique.maxTokens;
  const critique = asking("critic", critic, rows * rounds, read + critiqueRequest, written);
  const revision = asking(
    "reviser",
    reviser,
    rows * rounds * settings.candidates,
    read + (critiqued ? critiqueRequest + written : 0) + revisionRequest,
    settings.revision.maxTokens,
  );
  const asked = rounds === 0 ? [] : critiqued ? [critique, revision] : [revision];
  return { rows, prompt, tokens: prompt + settings.revision.maxTokens, asked };
}

/** What is learnt of chains. */
export function examplesStage(
  { recipe: { supervised, seed }, constitution }: PartContext,
  name: string,
  chains: Stage<StoredRows<ChainRow>>,
): Stage<StoredRows<ExampleRow>> {
  const options = {
    ...supervised.examples,
    constitution,
    ...(supervised.deliberate?.by === "checks" && { deliberate: supervised.deliberate }),
  };
  return itemStage<ChainRow, ExampleRow>({
    name,
    title: "examples from the chains",
    kind: "examples",
    version: 1,
    seed,
    over: chains,
    expect: (sized) => {
      const { rows, tokens, prompt } = sized(chains);
      const each = options.from === "every-revision" ? Math.max(1, supervised.revisions) : 1;
      const critique = options.from === "critique-and-revision" ? supervised.critique.critique.maxTokens : 0;
      return { rows: rows * each, tokens: tokens + critique, prompt };
    },
    dependsOn: (row) => examplesDependsOn(row, options),
    run: (rows) => examplesFromChains(rows, options),
  });
}
