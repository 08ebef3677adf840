import { type OpenCheckpoints, openCheckpoints, type StoredCheckpoint, storedCheckpoints } from "@tenet/align";
import type { Message } from "@tenet/data";
import type { ChatLine } from "./api.ts";
import type { ViewContext } from "./context.ts";
import { NotFoundError, RequestError } from "./errors.ts";

/** Models nobody has spoken to for so long are let go. */
const idleMilliseconds = 300_000;

/** Opens checkpoints to speak with; tests put their own in its place. */
export type OpenToSpeak = (checkpoints: readonly StoredCheckpoint[]) => Promise<OpenCheckpoints>;

export interface ChatRequest {
  readonly run: string;
  /** What each checkpoint has heard and said so far, the user's turn last. */
  readonly turns: readonly { readonly checkpoint: string; readonly messages: readonly Message[] }[];
  readonly sampling: { readonly seed?: number; readonly temperature?: number; readonly maxTokens?: number };
}

interface Loaded {
  readonly key: string;
  readonly ids: readonly string[];
  readonly open: OpenCheckpoints;
}

/** Checkpoints of a run, in memory while somebody speaks with them: one conversation's at a time. */
export class Chat {
  readonly #context: ViewContext;
  readonly #openToSpeak: OpenToSpeak;
  #loaded: Loaded | undefined;
  #busy = false;
  #idle: NodeJS.Timeout | undefined;

  constructor(context: ViewContext, openToSpeak: OpenToSpeak = openCheckpoints) {
    this.#context = context;
    this.#openToSpeak = openToSpeak;
  }

  get busy(): boolean {
    return this.#busy;
  }

  /** Replies one after the other, as they grow. Ends early with the signal. Errors: NotFoundError; those of loading a model. */
  async *reply({ run, turns, sampling }: ChatRequest, signal: AbortSignal): AsyncGenerator<ChatLine> {
    if (this.#busy) throw new RequestError("a reply is being written already; one conversation at a time");
    this.#busy = true;
    clearTimeout(this.#idle);
    try {
      const ids = turns.map(({ checkpoint }) => checkpoint);
      if (this.#loaded?.key !== keyOf(run, ids)) yield { type: "loading", checkpoints: ids };
      const { open } = await this.#load(run, ids);
      for (const [i, { checkpoint, messages }] of turns.entries()) {
        if (signal.aborted) return;
        const began = performance.now();
        let streamed = "";
        const waiting: string[] = [];
        let wake = () => {};
        const results = open.models[i]!.generate([{ prompt: [...messages], sampling }], {
          signal,
          stream: true,
          onEvent(event) {
            if (event.type === "text") waiting.push(event.text);
            else if (event.type === "restart") streamed = "";
            wake();
          },
        });
        const whole = (async () => {
          let last: { text: string; finishReason: string } = { text: "", finishReason: "cancelled" };
          for await (const { completion } of results) last = completion;
          return last;
        })();
        let ended = false;
        const end = () => {
          ended = true;
          wake();
        };
        whole.then(end, end);
        while (!ended || waiting.length > 0) {
          for (let text = waiting.shift(); text !== undefined; text = waiting.shift()) {
            streamed += text;
            yield { type: "text", checkpoint, text };
          }
          if (!ended)
            await new Promise<void>((resolve) => {
              wake = resolve;
            });
        }
        const { text, finishReason } = await whole.catch((error: unknown) => {
          if (signal.aborted) return { text: streamed, finishReason: "cancelled" };
          throw error;
        });
        yield { type: "done", checkpoint, text, finishReason, seconds: (performance.now() - began) / 1000 };
      }
    } finally {
      this.#busy = false;
      this.#idle = setTimeout(() => void this.close(), idleMilliseconds);
      this.#idle.unref();
    }
  }

  async close(): Promise<void> {
    clearTimeout(this.#idle);
    const loaded = this.#loaded;
    this.#loaded = undefined;
    await loaded?.open.close();
  }

  async #load(run: string, ids: readonly string[]): Promise<Loaded> {
    const key = keyOf(run, ids);
    if (this.#loaded?.key === key) return this.#loaded;
    await this.close();
    const all = await storedCheckpoints(this.#context.store, run);
    const chosen = ids.map((id) => {
      const found = all.find((one) => one.id === id);
      if (!found)
        throw new NotFoundError(
          `run ${run} has no checkpoint ${JSON.stringify(id)}; it has ${all.map((one) => one.id).join(", ") || "none"}`,
        );
      return found;
    });
    this.#loaded = { key, ids, open: await this.#openToSpeak(chosen) };
    return this.#loaded;
  }
}

const keyOf = (run: string, ids: readonly string[]) => JSON.stringify([run, ids]);
