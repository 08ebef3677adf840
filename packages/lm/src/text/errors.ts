/** Text cannot be turned into tokens or back: an unknown kind of tokenizer, a damaged `tokenizer.json`. */
export class TokenizerError extends Error {
  override name = "TokenizerError";
}

/** A chat template does not parse, refuses the conversation, or would take too long or too much memory. */
export class ChatTemplateError extends Error {
  override name = "ChatTemplateError";
}

/** A chat template would take too long or too much memory. */
export class EndlessTemplateError extends ChatTemplateError {}

/** A text holds a token that the model's embedding has no row for. */
export class TokenRowError extends Error {
  override name = "TokenRowError";
}

/** Whether a model cannot take a text because of that text: its chat template refuses it, or it holds a token without a row. */
export function refusesText(error: unknown): error is ChatTemplateError | TokenRowError {
  return error instanceof ChatTemplateError || error instanceof TokenRowError;
}
