import {
  CapabilityError,
  type Completion,
  EndpointError,
  type GenerateRequest,
  type LanguageModel,
  refusesText,
  type ScoreRequest,
  type ScoreResult,
  seesNoImages,
  UsageError,
} from "@tenet/lm";

/** What came of one request of a batch: an answer, or the reason why the model would not take the request. */
export type Answer<T> =
  | { readonly request: number; readonly value: T }
  | { readonly request: number; readonly refused: string };

/** What stages take besides rows and options. */
export interface StageCall {
  readonly signal?: AbortSignal | undefined;
  /** Told what was noticed and lived with. */
  readonly notice?: ((notice: string) => void) | undefined;
}

/** A question by its key, which its answer depends on alone, and its place among those of its stage. */
export interface Place {
  /** 64 hexadecimal digits. */
  readonly key: string;
  readonly ordinal: number;
}

/** What came of a question. */
export interface Kept extends Place {
  readonly input: string;
  readonly rows: readonly { readonly id: string; readonly origin: { readonly parents: readonly string[] } }[];
}

/** Keeps answers, so that nothing is asked twice: not in another round, and not by a process that goes on where one was killed. */
export interface Memo {
  /** What is known of some questions, by key. */
  recall(questions: readonly Place[]): ReadonlyMap<string, Pick<Kept, "rows">>;
  keep(answers: readonly Kept[]): void;
}

/**
 * The samples of each request of a batch, by index, as soon as a request has all of its own.
 *
 * A request that the model cannot take (longer than its context, refused by its chat template, refused by the server with
 * status 400, 413 or 422, or because its model sees no images) is answered with the reason, and the others go on. When that befalls every request of a batch of several, the fault is not the
 * rows': the error is thrown. So is every other error, as `LanguageModel` states it.
 */
export function generateEach(
  model: LanguageModel,
  requests: readonly GenerateRequest[],
  { signal }: StageCall = {},
): AsyncGenerator<Answer<Completion[]>> {
  return each(requests, async function* (batch) {
    const samples = batch.map((): Completion[] => []);
    for await (const { request, completion } of model.generate(batch, signal ? { signal } : {})) {
      // The model throws the signal's reason right after these.
      if (completion.finishReason === "cancelled") continue;
      const value = samples[request]!;
      value.push(completion);
      if (value.length === (batch[request]!.sampling?.n ?? 1))
        yield { request, value: value.sort((a, b) => a.index - b.index) };
    }
  });
}

/** The scores of a batch, by the rules of `generateEach`. */
export function scoreEach(
  model: LanguageModel,
  requests: readonly ScoreRequest[],
  { signal }: StageCall = {},
): AsyncGenerator<Answer<ScoreResult["scores"]>> {
  return each(requests, async function* (batch) {
    for await (const { request, scores } of model.score(batch, signal ? { signal } : {}))
      yield { request, value: scores };
  });
}

type Ask<Request, T> = (batch: readonly Request[]) => AsyncIterable<{ readonly request: number; readonly value: T }>;

async function* each<Request, T>(requests: readonly Request[], ask: Ask<Request, T>): AsyncGenerator<Answer<T>> {
  const refused: { request: number; error: Error }[] = [];
  // Requests by their positions. A batch with an error is halved, until the faulty request is alone.
  const batches = requests.length > 0 ? [requests.map((_, position) => position)] : [];
  while (batches.length > 0) {
    const positions = batches.pop()!;
    const open = new Set(positions);
    try {
      for await (const { request, value } of ask(positions.map((position) => requests[position]!))) {
        open.delete(positions[request]!);
        yield { request: positions[request]!, value };
      }
    } catch (error) {
      if (!faultOfRequest(error)) throw error;
      const left = [...open];
      if (left.length === 1) refused.push({ request: left[0]!, error });
      else {
        const half = Math.ceil(left.length / 2);
        batches.push(left.slice(half), left.slice(0, half));
      }
    }
  }
  if (refused.length > 1 && refused.length === requests.length) throw refused[0]!.error;
  for (const { request, error } of refused) yield { request, refused: error.message };
}

function faultOfRequest(error: unknown): error is Error {
  if (error instanceof CapabilityError) return false;
  if (error instanceof EndpointError)
    return error.status === 400 || error.status === 413 || error.status === 422 || seesNoImages(error.message);
  return error instanceof UsageError || refusesText(error);
}
