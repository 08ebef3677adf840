import OpenAI from "openai";
import { EndpointError, UsageError } from "../language-model/errors.ts";
import type { Prompt } from "../language-model/types.ts";
import { untilAborted } from "../language-model/work.ts";
import { createAlikeness, dialectOf, type Listed, listSchema } from "./alike.ts";
import { type Ask, createAttempts } from "./attempts.ts";
import { findCause, MalformedReply, understand } from "./failures.ts";
import { createFields } from "./fields.ts";
import type { Ledger } from "./ledger.ts";
import { errorIn, Refused } from "./refusal.ts";
import { redactor } from "./secrets.ts";
import { createServers, type Server, type ServerReached, type ServerUse } from "./servers.ts";
import type { Dialect, EndpointSettings } from "./settings.ts";
import { guarded, listBytes, replyBytes } from "./transport.ts";
import { estimateTokens, gatherStream, type Reply, readReplyBody, usageOf } from "./wire.ts";

/** What an endpoint's calls are made with. */
export interface CallDependencies {
  fetch?: typeof globalThis.fetch;
  environment?: Record<string, string | undefined>;
}

/** The calls of one endpoint. */
export interface Calls {
  /** Sends a prompt and reads the reply. */
  ask: Ask;
  /** The model's name and the server's dialect: asked for once, shared, and forgotten when it failed. */
  served(signal: AbortSignal | undefined): Promise<{ model: string; dialect: Dialect }>;
  /** The name under which the limit of a reply is sent. */
  maxTokensField(prompt: Prompt): string;
  /** Whether the server was found to refuse a field. */
  without(field: string): boolean;
  /** What each server was given. */
  servers(): ServerUse[];
  /** Asks each server once for its models. */
  reached(signal: AbortSignal | undefined): Promise<ServerReached[]>;
}

/** Seconds that a server has to list its models. */
const listSeconds = 5;

/** Errors: UsageError where the key's variable is not set. */
export function createCalls(
  settings: EndpointSettings,
  { fetch = (input, init) => globalThis.fetch(input, init), environment = process.env }: CallDependencies,
  ledger: Ledger,
  closing: AbortSignal,
): Calls {
  const { apiKeyVariable, apiKeyHeader } = settings;
  const key = apiKeyVariable ? environment[apiKeyVariable]?.trim() : undefined;
  if (apiKeyVariable && !key)
    throw new UsageError(`the environment variable ${apiKeyVariable}, named by apiKeyVariable, is not set`);
  const bearer = key !== undefined && apiKeyHeader === undefined;

  const clientOf = ({ address }: Server) =>
    new OpenAI({
      baseURL: address,
      apiKey: key ?? "none",
      organization: null,
      project: null,
      maxRetries: 0, // ours alone count
      timeout: (settings.timeoutSeconds + 5) * 1000, // ours comes first, and covers the body too
      logLevel: "off",
      defaultHeaders: {
        ...settings.headers,
        ...(!bearer && { authorization: null }),
        ...(apiKeyHeader !== undefined && key !== undefined && { [apiKeyHeader]: key }),
      },
      fetch,
    });
  const servers = createServers(settings);
  const clients = new Map(servers.all.map((server) => [server, clientOf(server)]));
  const redact = redactor(key ? [key] : []);
  const attempts = createAttempts(settings, servers, ledger, redact);
  const fields = createFields(settings.fields ?? {});
  let known: ReturnType<Calls["served"]> | undefined;

  /** One call; fields that the server refuses are left out of it and of all that follow. */
  const send = async (
    server: Server,
    body: Record<string, unknown>,
    bytes: number,
    {
      signal,
      account,
      prompt,
      onText,
    }: { signal: AbortSignal; account: Ledger; prompt: Prompt; onText: ((text: string) => void) | undefined },
  ): Promise<Reply> => {
    const notice = (text: string) => account.notice(text);
    // A caller who goes away books what was said as a reply of its own.
    const isGone = () => signal.aborted && (signal.reason as Error | undefined)?.name !== "TimeoutError";
    const lost = (reply: Reply) => {
      if (!isGone()) account.book(usageOf(reply, prompt));
    };
    for (;;) {
      const streams = onText !== undefined && !fields.without("stream");
      const sent = fields.shape({
        ...body,
        ...(streams && { stream: true, stream_options: { include_usage: true } }),
      });
      const { chat: conversations, completions } = clients.get(server)!.withOptions({
        fetch: guarded(fetch, bytes),
      });
      try {
        const answer: unknown = await (typeof prompt !== "string"
          ? conversations.completions.create(sent as never, { signal })
          : completions.create(sent as never, { signal }));
        if (streams) return await gatherStream(answer as AsyncIterable<unknown>, onText, { notice, lost });
        const reply = readReplyBody(answer, { notice, lost });
        onText?.(reply.choices[0]!.text);
        return reply;
      } catch (error) {
        const refused = findCause(error, Refused);
        const learnt = refused && fields.learn(refused, sent);
        if (learnt === undefined) throw error;
        notice(learnt);
      }
    }
  };

  /** The models that a server lists. */
  const listed = async (server: Server, signal: AbortSignal): Promise<Listed[]> => {
    const page = await clients
      .get(server)!
      .withOptions({ fetch: guarded(fetch, listBytes) })
      .models.list({ signal });
    const refused = errorIn((page as unknown as { body: unknown }).body);
    if (refused) throw refused;
    const data = listSchema.safeParse(page.data);
    if (!data.success) throw new MalformedReply("the list of models is not a list of models");
    return data.data;
  };

  const discover = async () => {
    const settled = settings.dialect === "auto" ? undefined : settings.dialect;
    if (settings.model && settled) return { model: settings.model, dialect: settled };
    let asked = servers.all[0]!;
    const list = await attempts(
      async (signal, server) => {
        asked = server;
        return { value: await listed(server, signal) };
      },
      { signal: closing, expectedTokens: 0, probe: true },
    ).catch((error) => {
      // Not every server lists its models; the model must then be named, and the dialect is the plain one.
      const answered = error instanceof EndpointError && (error.fault === "http" || error.fault === "malformed");
      if (answered && settings.model) return [];
      throw error;
    });
    const model = settings.model ?? (list.length === 1 ? list[0]!.id : undefined);
    if (model === undefined)
      throw new UsageError(
        `${asked.address} serves ${list.length} models; name one with 'model': ${list.map(({ id }) => id).join(", ")}`,
      );
    return { model, dialect: settled ?? dialectOf(list[0]?.owned_by) };
  };

  /** Of servers that were asked for them before anything else. */
  const lists = new Map<Server, readonly Listed[]>();
  const alike = createAlikeness(
    servers.all,
    settings,
    async (server) => lists.get(server) ?? (await listed(server, closing)),
  );

  /** A status is an answer, but for a gateway's that nobody is behind it. */
  const reach = async (server: Server, signal: AbortSignal | undefined): Promise<ServerReached> => {
    const timeout = AbortSignal.timeout(1000 * listSeconds);
    const { address } = server;
    try {
      lists.set(server, await listed(server, AbortSignal.any([timeout, closing, ...(signal ? [signal] : [])])));
      return { address };
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      if (timeout.aborted) return { address, dead: `no answer within ${listSeconds} s` };
      const { status, reason } = understand(error, false, redact);
      return status !== undefined && ![502, 503, 504].includes(status) ? { address } : { address, dead: reason };
    }
  };

  const reached = async (signal: AbortSignal | undefined) => {
    const all = await Promise.all(servers.all.map((server) => reach(server, signal)));
    for (const [i, { dead }] of all.entries()) if (dead !== undefined) servers.rest(servers.all[i]!);
    return all;
  };
  /** Of several servers, before the first call: one at least answers. */
  const requireOne = async () => {
    if (servers.all.length === 1) return;
    const all = await reached(closing);
    if (all.some(({ dead }) => dead === undefined)) return;
    const each = all.map(({ address, dead }) => `${address}: ${dead}`).join("; ");
    throw new EndpointError(`none of the ${all.length} servers answers (${each}). Are they up?`, { fault: "network" });
  };

  const served: Calls["served"] = (signal) => {
    known ??= requireOne()
      .then(discover)
      .catch((error) => {
        known = undefined;
        throw error;
      });
    return untilAborted(known, signal);
  };
  const maxTokensField = (prompt: Prompt) => (typeof prompt === "string" ? "max_tokens" : settings.maxTokensField);

  return {
    served,
    maxTokensField,
    without: (field) => fields.without(field),
    servers: servers.use,
    reached,
    async ask(prompt, body, { onText, onStart, ...context }) {
      const { model } = await served(context.signal);
      const whole = { model, ...body, ...settings.body };
      const maxTokens = Number(body[maxTokensField(prompt)] ?? 0);
      const promptTokens = estimateTokens(prompt);
      const bytes = replyBytes({ ...whole, stream: onText !== undefined }, { promptTokens, maxTokens });
      return attempts(
        async (signal, server) => {
          await alike(server, signal);
          onStart?.();
          const { account = ledger } = context;
          const reply = await send(server, whole, bytes, {
            signal,
            account,
            prompt,
            onText,
          });
          return { value: reply, usage: usageOf(reply, prompt) };
        },
        { ...context, prompt, expectedTokens: promptTokens + maxTokens },
      );
    },
  };
}
