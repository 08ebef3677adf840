/** No row can be trained on. */
export class NoExamplesError extends Error {
  override readonly name = "NoExamplesError";
}

/** A judge cannot be trained on such questions or letters. */
export class JudgeError extends Error {
  override readonly name = "JudgeError";
}
