import { z } from "zod";
import { UsageError } from "../language-model/errors.ts";
import { untilAborted } from "../language-model/work.ts";
import { findCause } from "./failures.ts";
import { Refused } from "./refusal.ts";
import type { Server } from "./servers.ts";
import type { Dialect, EndpointSettings } from "./settings.ts";

/** What a server's list of models says of one. */
export interface Listed {
  readonly id: string;
  readonly owned_by?: string | null | undefined;
}

export const listSchema = z.array(z.object({ id: z.string(), owned_by: z.string().nullish().catch(null) }));

/** How a server's calls are written, by who it says owns its models. */
export function dialectOf(owner: string | null | undefined): Dialect {
  // Tenet's own server takes vLLM's names.
  if (owner === "vllm" || owner === "tenet") return "vllm";
  if (owner === "llamacpp") return "llama.cpp";
  if (owner === "me") return "llama-cpp-python";
  return "openai";
}

/**
 * Sees to it that a server is like the others before it is first asked: their answers are mixed, so that they have to be one model's. A
 * server that does not list its models is taken at its word.
 *
 * @param list asks a server for its models
 * Errors: UsageError for a server that lists another model, or speaks another dialect where that is found out.
 */
export function createAlikeness(
  servers: readonly Server[],
  { model, dialect }: Pick<EndpointSettings, "model" | "dialect">,
  list: (server: Server) => Promise<readonly Listed[]>,
): (server: Server, signal: AbortSignal) => Promise<void> {
  let first: { server: Server; lists: boolean; dialect: Dialect } | undefined;
  const compare = async (server: Server) => {
    const models = await list(server).catch((error) => {
      const refused = findCause(error, Refused);
      if (refused?.status !== undefined && refused.status < 500 && ![408, 429].includes(refused.status)) return [];
      throw error;
    });
    if (models.length === 0) return;
    const lists = models.some(({ id }) => id === model);
    const found = { server, lists, dialect: dialectOf(models[0]!.owned_by) };
    first ??= found;
    if (first.lists !== lists) {
      const [has, lacks] = lists ? [server, first.server] : [first.server, server];
      throw new UsageError(
        `servers of one endpoint have to serve the same model: ${has.address} lists ${model}, ${lacks.address} does not${lists ? "" : ` (it lists ${models.map(({ id }) => id).join(", ")})`}. Name only servers of one model`,
      );
    }
    if (dialect === "auto" && first.dialect !== found.dialect)
      throw new UsageError(
        `servers of one endpoint have to be asked alike: ${first.server.address} speaks ${first.dialect}, ${server.address} ${found.dialect}. Set 'dialect' to what both understand, or name only servers of one kind`,
      );
  };
  const known = new Map<Server, Promise<void>>();
  return async (server, signal) => {
    if (servers.length === 1) return;
    let compared = known.get(server);
    if (!compared) {
      compared = compare(server).catch((error) => {
        if (!(error instanceof UsageError)) known.delete(server); // it may answer the next time
        throw error;
      });
      known.set(server, compared);
    }
    await untilAborted(compared, signal);
  };
}
