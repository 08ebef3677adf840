/** No row can be trained on. */
export class NoExamplesError extends Error {
  override readonly name = "NoExamplesError";
}
