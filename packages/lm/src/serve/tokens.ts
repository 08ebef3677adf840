import { isTokens, type LanguageModel, type Prompt, type Tokens } from "../language-model/index.ts";
import type { TokenModel } from "../local/index.ts";
import { ApiError } from "./refusals.ts";

/** A model that knows its tokens takes them. */
export function takesTokens(model: LanguageModel): model is TokenModel {
  return "text" in model;
}

/** A prompt for a model that takes no tokens. Throws ApiError where it is given by them. */
export function textOnly(prompt: Prompt | Tokens): Prompt {
  if (!isTokens(prompt)) return prompt;
  throw new ApiError(400, "this model takes text, and no token ids: send the text itself", {
    ...{ code: "unsupported_parameter", param: "prompt" },
  });
}

/**
 * The prompts of a body: a text, several, the token ids of a text, or those of several. That ids are whole numbers within the vocabulary is
 * for the model to say. Throws ApiError naming the place.
 */
export function promptsOf(given: unknown): readonly (string | Tokens)[] {
  if (typeof given === "string") return [given];
  if (!Array.isArray(given) || given.length === 0)
    throw misplaced("prompt", "a text, token ids, or a list of texts or of lists of token ids", given);
  const [first] = given as unknown[];
  if (typeof first === "number") return [tokensOf(given, "prompt")];
  if (given.length > mostPrompts) throw misplaced("prompt", `${mostPrompts} prompts at most`, given);
  if (Array.isArray(first)) return given.map((one, i) => tokensOf(one, `prompt.${i}`));
  return given.map((one: unknown, i) => {
    if (typeof one === "string") return one;
    throw misplaced(`prompt.${i}`, "a text", one);
  });
}

const mostPrompts = 256;

function tokensOf(given: unknown, where: string): Tokens {
  if (!Array.isArray(given) || given.length === 0) throw misplaced(where, "a list of token ids", given);
  const place = given.findIndex((one) => typeof one !== "number");
  if (place >= 0) throw misplaced(`${where}.${place}`, "a token id", given[place]);
  return { tokens: given };
}

function misplaced(param: string, expected: string, came: unknown): ApiError {
  return new ApiError(400, `${param}: expected ${expected}, got ${kindOf(came)}`, { param });
}

/** What a value is, in few words: what was sent may be of any size. */
function kindOf(value: unknown): string {
  if (value === undefined) return "nothing";
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === "string") return "a text";
  return typeof value === "object" && value !== null ? "an object" : String(value);
}
