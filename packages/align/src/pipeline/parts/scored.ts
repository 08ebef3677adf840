import type { Outcome } from "@tenet/data";
import type { LanguageModel } from "@tenet/lm";
import type { StageCall } from "../../ask.ts";
import type { PartContext } from "../context.ts";
import { asking } from "../sizes.ts";
import { itemStage, type Row, type Stage } from "../stages/index.ts";
import type { ModelValue, StoredRows } from "../values.ts";

/** Rows that a model gives log-probabilities of. */
interface Scored<In> {
  readonly name: string;
  readonly title: string;
  readonly kind: string;
  /** Of what a row is made of. Default 1. */
  readonly version?: number;
  readonly over: Stage<StoredRows<In>>;
  readonly model: Stage<ModelValue>;
}

/** What a model finds likely of each row by itself: the row, the model and the seed are all that it depends on. */
export function scoredStage<In extends Row, Out extends Row>(
  { recipe: { seed } }: PartContext,
  score: (rows: readonly In[], speaker: { model: LanguageModel }, call: StageCall) => AsyncIterable<Outcome<Out>>,
  { name, title, kind, version = 1, over, model }: Scored<In>,
): Stage<StoredRows<Out>> {
  return itemStage<In, Out>({
    ...{ name, title, kind, version, seed, over },
    expect(sized) {
      const { rows, tokens } = sized(over);
      return { ...sized(over), asked: [asking("scored", model, rows, tokens, 0)] };
    },
    models: { scored: model },
    dependsOn: () => null,
    run: (rows, { scored }, call) => score(rows, { model: scored! }, call),
  });
}
