import { createHash } from "node:crypto";
import type { EndpointInput } from "@tenet/lm";
import { hashOf, type RunInfo } from "@tenet/runs";
import { endpointRoleSchema } from "./schema/roles.ts";

/*
 * Who is behind an endpoint. One address stands for its model. Of a list it does not matter which server answers: the model's name and
 * whatever else changes replies stand for it, so that one server more or another address redoes nothing.
 */

/** An endpoint's settings as a recipe has them: its address or addresses under the key that recipes use. */
type EndpointRole = Omit<EndpointInput, "baseUrl"> & { endpoint: EndpointInput["baseUrl"] };

/** An endpoint's settings from a recipe's. */
export function endpointSettings({ endpoint, ...settings }: EndpointRole): EndpointInput {
  return { ...settings, baseUrl: endpoint };
}

/**
 * Tells an endpoint's model from others.
 *
 * @param runs of the store that results are reused from. Where the first of them that asked the model of a list named a single address,
 * that one's results are its results.
 */
export function endpointFingerprint(settings: EndpointInput, runs: Pick<RunInfo, "recipe" | "created">[] = []): string {
  if (typeof settings.baseUrl === "string") return fingerprintOfOne(settings);
  const own = fingerprintOfAny(settings);
  const earliest = [...runs].sort((a, b) => (a.created < b.created ? -1 : 1));
  for (const role of earliest.flatMap(({ recipe }) => rolesOf(recipe))) {
    const listed = Array.isArray(role.endpoint);
    const known = endpointRoleSchema.safeParse(listed ? { ...role, endpoint: "http://any" } : role);
    if (!known.success) continue;
    const asked = endpointSettings(known.data);
    if (fingerprintOfAny(asked) === own) return listed ? own : fingerprintOfOne(asked);
  }
  return own;
}

/** What may be spent changes no reply: a run whose budget is raised goes on behind what it has. */
function fingerprintOfOne({ budget: _, ...settings }: EndpointInput): string {
  return createHash("sha256").update(JSON.stringify(settings)).digest("hex");
}

function fingerprintOfAny(settings: EndpointInput): string {
  const { model, dialect, maxTokensField, fields, samplesPerCall, headers, body } = settings;
  return hashOf({ model, dialect, maxTokensField, fields: fields ?? null, samplesPerCall, headers, body });
}

function rolesOf(recipe: unknown): Record<string, unknown>[] {
  const { roles } = (recipe ?? {}) as { roles?: Record<string, unknown> };
  return Object.values(roles ?? {}).filter(
    (role): role is Record<string, unknown> => typeof role === "object" && role !== null,
  );
}

/** A role as it makes the run's id: where a list leads, and what may be spent, make no other run. */
export function withoutAddresses(role: unknown): unknown {
  if (typeof role !== "object" || role === null || !("endpoint" in role)) return role;
  const { budget: _, ...rest } = role as EndpointRole;
  return Array.isArray(rest.endpoint) ? { ...rest, endpoint: [] } : rest;
}
