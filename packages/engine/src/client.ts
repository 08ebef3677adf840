import { readBody, type TensorOf, type Tensors, writeBody } from "./body.ts";
import { EngineError, EngineGoneError, EngineMemoryError, EngineRefusedError, EngineRestartedError } from "./errors.ts";
import { http } from "./http.ts";
import { type EngineHealth, healthSchema, PROTOCOL, type Request, type Verb } from "./protocol.ts";

/** What was sent and received, by verb. */
export interface EngineTraffic {
  calls: number;
  milliseconds: number;
  bytesSent: number;
  bytesReceived: number;
}

export interface EngineReply {
  readonly json: unknown;
  readonly tensors: Readonly<Record<string, TensorOf>>;
}

export interface EngineClientOptions {
  /** Where it listens, such as `http://localhost:8270`. */
  readonly address: string;
  readonly token: string;
  readonly signal?: AbortSignal | undefined;
  /** How long a connection that fails is tried again. Default 120. */
  readonly patienceSeconds?: number | undefined;
  /** Asked while nobody answers: why nobody will any more. */
  readonly ended?: (() => Promise<EngineGoneError | undefined>) | undefined;
}

/**
 * The engine's verbs. Calls go one after another, in the order of asking.
 *
 * Errors, all with the engine's address in front: EngineRestartedError (409), EngineRefusedError (401, 422), EngineMemoryError (507),
 * EngineGoneError (503, or no connection for `patienceSeconds`), EngineError for the rest.
 */
export class EngineClient {
  readonly address: string;
  readonly traffic: Partial<Record<Verb, EngineTraffic>> = {};
  readonly #options: EngineClientOptions;
  #line: Promise<unknown> = Promise.resolve();

  constructor(options: EngineClientOptions) {
    this.address = options.address.replace(/\/$/, "");
    this.#options = options;
  }

  /** Errors: EngineRefusedError where another protocol is spoken there. */
  async health(): Promise<EngineHealth> {
    const { status, body } = await this.#send("GET", "health");
    const text = body.toString("utf8");
    if (status !== 200) throw this.#failure("health", status, text);
    const parsed = healthSchema.safeParse(parseJson(text));
    if (!parsed.success || parsed.data.protocol !== PROTOCOL)
      throw new EngineRefusedError(
        `engine ${this.address}: it speaks protocol ${parsed.data?.protocol ?? "of another program"}, this Tenet ${PROTOCOL}; use one release of Tenet for both`,
      );
    return parsed.data;
  }

  call<V extends Verb>(verb: V, request: Request<V>, tensors: Tensors = {}): Promise<EngineReply> {
    const turn = this.#line.then(() => this.#call(verb, request, tensors));
    this.#line = turn.catch(() => {}); // one that fails does not hold up the others
    return turn;
  }

  async #call(verb: Verb, request: unknown, tensors: Tensors): Promise<EngineReply> {
    const sent = writeBody(request, tensors);
    const began = performance.now();
    const { status, body } = await this.#send("POST", verb, sent);
    if (status !== 200) throw this.#failure(verb, status, body.toString("utf8"));
    this.traffic[verb] ??= { calls: 0, milliseconds: 0, bytesSent: 0, bytesReceived: 0 };
    const traffic = this.traffic[verb];
    traffic.calls++;
    traffic.milliseconds += performance.now() - began;
    traffic.bytesSent += sent.byteLength;
    traffic.bytesReceived += body.byteLength;
    return readBody(body);
  }

  async #send(method: string, path: string, body?: Uint8Array) {
    const { token, signal, patienceSeconds = 120 } = this.#options;
    const until = Date.now() + 1000 * patienceSeconds;
    for (let wait = 250; ; wait = Math.min(5000, 2 * wait)) {
      try {
        return await http(`${this.address}/v1/${path}`, { method, token, body, signal });
      } catch (error) {
        if (signal?.aborted) throw signal.reason;
        const { code, message } = error as NodeJS.ErrnoException;
        // Only what never arrived is sent again: a step of the optimiser is not to be taken twice.
        if (code !== "ECONNREFUSED" && method !== "GET")
          throw new EngineRestartedError(
            `engine ${this.address}: the connection broke off during ${path} (${message}); whether it was carried out is not known`,
            { cause: error },
          );
        const ended = await this.#options.ended?.();
        if (ended) throw ended;
        if (Date.now() + wait > until)
          throw new EngineGoneError(
            `engine ${this.address}: nobody answers (${message}). Is the job running, and the tunnel up? The same command goes on where it stopped`,
            { cause: error },
          );
        await new Promise((resolve) => setTimeout(resolve, wait));
      }
    }
  }

  #failure(verb: string, status: number, text: string): EngineError {
    const { error = text.slice(0, 500) } = parseJson(text) as { error?: string };
    const words = `engine ${this.address}: ${verb}: ${error}`;
    if (status === 409) return new EngineRestartedError(words);
    if (status === 503) return new EngineGoneError(words);
    if (status === 507) return new EngineMemoryError(words);
    if (status === 401)
      return new EngineRefusedError(
        `${words}. The job was started with another token: stop it (tenet engine stop) and run again`,
      );
    if (status === 422) return new EngineRefusedError(words);
    return new EngineError(`${words} (status ${status})`);
  }
}

function parseJson(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}
