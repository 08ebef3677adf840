import { endpoint, type ServerReached } from "@tenet/lm";
import { endpointSettings } from "./endpoint-identity.ts";
import type { OpenRecipe } from "./open.ts";
import { isServed } from "./recipe.ts";

/** A server of a recipe, by the role that it plays. */
export interface EndpointReached extends ServerReached {
  readonly role: string;
}

/**
 * Asks every server that a recipe names once for its models, within seconds and without a token spent: which of them answer. Errors: UsageError
 * where a key's variable is not set.
 */
export async function endpointsReached(
  { recipe: { roles, engine } }: Pick<OpenRecipe, "recipe">,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): Promise<EndpointReached[]> {
  const named = Object.entries(roles).flatMap(([role, reference]) =>
    isServed(reference) ? [{ role, settings: endpointSettings(reference) }] : [],
  );
  const { generation } = engine ?? {};
  if (generation !== undefined) {
    const { endpoints: baseUrl, model = "any", apiKeyVariable } = generation;
    const settings = { baseUrl, model, ...(apiKeyVariable !== undefined && { apiKeyVariable }) };
    named.push({ role: "engine.generation", settings: settings as (typeof named)[number]["settings"] });
  }
  const found = await Promise.all(
    named.map(async ({ role, settings }) => {
      const model = endpoint(settings, { environment: { ...environment } });
      const all = await model.reached();
      await model.close();
      return all.map((one) => ({ role, ...one }));
    }),
  );
  return found.flat();
}
