import { type OpinionRow, type Origin, type PromptRow, type ResponseRow, readDocument, rowId } from "@tenet/data";
import {
  answerChoices,
  answerOpinions,
  type CheckpointEvidence,
  type ChoiceAnswer,
  type OpinionAnswer,
  type SampleLogprobs,
  scoreResponses,
  scoreTexts,
  type TextScore,
} from "../../evaluate/index.ts";
import type { PartContext } from "../context.ts";
import { nothing } from "../expectation.ts";
import { neutralTextsSchema } from "../recipe.ts";
import type { StepName } from "../schema/arrangement.ts";
import { mean, size } from "../sizes.ts";
import { rowsStage, type Stage, type StageContext } from "../stages/index.ts";
import type { ModelValue, StoredRows } from "../values.ts";
import { fileStage } from "./files.ts";
import { responsesStage } from "./replies.ts";
import { scoredStage } from "./scored.ts";

/** A model on its way, as the scorecard names it. */
export interface CheckpointPart {
  readonly id: string;
  readonly label: string;
  readonly model: Stage<ModelValue>;
  /** The half of the method that made it, and in which round; of what training began with neither. */
  readonly step?: StepName;
  readonly round?: number;
}

/** What is looked at of one checkpoint. */
export interface Looked {
  readonly responses: Stage<StoredRows<ResponseRow>>;
  readonly texts?: Stage<StoredRows<TextScore>>;
  readonly choices?: Stage<StoredRows<ChoiceAnswer>>;
  readonly opinions?: Stage<StoredRows<OpinionAnswer>>;
  /** The checkpoint's replies under itself and under the first one; the first has none. */
  readonly logprobs?: {
    readonly policy: Stage<StoredRows<SampleLogprobs>>;
    readonly reference: Stage<StoredRows<SampleLogprobs>>;
  };
}

/** Replies to the held-out prompts and all else that is looked at of each checkpoint, the same for every one. */
export function looksAt(
  context: PartContext,
  checkpoints: readonly CheckpointPart[],
  asked: {
    readonly heldOut: Stage<StoredRows<PromptRow>>;
    readonly opinions: Stage<StoredRows<OpinionRow>> | undefined;
  },
): Looked[] {
  const { recipe } = context;
  const { heldOut, opinions } = asked;
  const { sampling, samples, neutral, divergence } = recipe.evaluate;
  const questions =
    recipe.evaluate.choices &&
    fileStage(context, {
      ...{ name: "questions", title: "questions with options", reference: recipe.evaluate.choices, as: "choices" },
    });
  const texts = neutral === undefined ? undefined : textsStage(context, "neutral texts", neutral);
  const [first] = checkpoints;
  return checkpoints.map(({ id, label, model }): Looked => {
    const responses = responsesStage(context, {
      name: `answers of ${id}`,
      title: `replies of ${label} to held-out prompts`,
      prompts: heldOut,
      model,
      sampling: { ...sampling, n: samples },
    });
    return {
      responses,
      ...(texts && {
        texts: scoredStage(context, scoreTexts, {
          ...{ name: `texts under ${id}`, over: texts, model },
          title: `log-probabilities of neutral texts under ${label}`,
          kind: "score-texts",
        }),
      }),
      ...(questions && {
        choices: scoredStage(context, answerChoices, {
          ...{ name: `choices of ${id}`, over: questions, model },
          title: "answers to questions with options",
          kind: "answer-choices",
        }),
      }),
      ...(opinions && {
        opinions: scoredStage(context, answerOpinions, {
          ...{ name: `opinions of ${id}`, over: opinions, model },
          title: "answers to questions with a person's view",
          kind: "answer-opinions",
          version: 2,
        }),
      }),
      ...(divergence &&
        first &&
        id !== first.id && {
          logprobs: {
            policy: scoredStage(context, scoreResponses, {
              ...{ name: `answers of ${id} under ${id}`, over: responses, model },
              title: `log-probabilities of replies of ${label} under itself`,
              kind: "score-responses",
            }),
            reference: scoredStage(context, scoreResponses, {
              ...{ name: `answers of ${id} under ${first.id}`, over: responses, model: first.model },
              title: `log-probabilities of replies of ${label} under ${first.label}`,
              kind: "score-responses",
            }),
          },
        }),
    };
  });
}

/** What a look is made of, by the name that a scorecard has for it. */
export function stagesOf(
  { id, model }: CheckpointPart,
  { responses, texts, choices, opinions, logprobs }: Looked,
): Record<string, Stage> {
  return {
    ...(opinions && { [`opinions ${id}`]: opinions }),
    ...(choices && { [`choices ${id}`]: choices }),
    ...{ [`model ${id}`]: model, [`answers ${id}`]: responses },
    ...(texts && { [`texts ${id}`]: texts }),
    ...(logprobs && { [`policy ${id}`]: logprobs.policy, [`reference ${id}`]: logprobs.reference }),
  };
}

/** What was found, but for the replies. */
export function foundIn(
  { value }: StageContext,
  { texts, choices, opinions, logprobs }: Looked,
): Pick<CheckpointEvidence, "texts" | "choices" | "opinions" | "logprobs"> {
  return {
    ...(texts && { texts: [...value(texts).rows()] }),
    ...(choices && { choices: [...value(choices).rows()] }),
    ...(opinions && { opinions: [...value(opinions).rows()] }),
    ...(logprobs && {
      logprobs: { policy: [...value(logprobs.policy).rows()], reference: [...value(logprobs.reference).rows()] },
    }),
  };
}

interface TextRow {
  readonly id: string;
  readonly origin: Origin;
  readonly text: string;
}

/** Texts that have nothing to do with the constitution: a list in YAML or JSON. */
function textsStage({ recipe: { seed } }: PartContext, name: string, path: string): Stage<StoredRows<TextRow>> {
  const read = async () => (await readDocument(path, neutralTextsSchema)).value;
  return rowsStage<TextRow>({
    name,
    title: "neutral texts",
    kind: "texts",
    version: 1,
    seed,
    async expect() {
      const texts = await read();
      return { ...nothing, rows: texts.length, tokens: mean(texts.map(size)) };
    },
    settings: read,
    async *make() {
      for (const text of await read()) yield { row: { id: rowId("text", text), origin: { parents: [] }, text } };
    },
  });
}
