/** Text cannot be turned into tokens or back: an unknown kind of tokenizer, a damaged `tokenizer.json`. */
export class TokenizerError extends Error {
  override name = "TokenizerError";
}

/** A chat template does not parse, refuses the conversation, or would take too long or too much memory. */
export class ChatTemplateError extends Error {
  override name = "ChatTemplateError";
}
