import type { EndpointReached, OpenRecipe } from "@tenet/align";
import { EXIT } from "./errors.ts";
import { shellWord, table } from "./format.ts";
import { commandName, type Io, printJson, say } from "./io.ts";
import { openChanged, type RunCommandOptions } from "./run-recipe.ts";

export interface ValidateOptions extends RunCommandOptions {
  /** Ask the servers that the recipe names whether they are there. */
  endpoints?: boolean;
}

/** A model that plays a role, as people call it. */
function roleName(reference: NonNullable<OpenRecipe["recipe"]["roles"]["labeller"]>): string {
  if (typeof reference === "object" && "train" in reference) return "a trained judge";
  if (typeof reference === "string") return reference;
  return "endpoint" in reference ? (reference.model ?? [reference.endpoint].flat().join(", ")) : reference.model;
}

function labelsText({ feedback }: OpenRecipe["recipe"]): string {
  if (feedback.label.method === "checks") return "by the checks";
  if (feedback.label.method === "contrast") return "by how the pairs were made";
  if (feedback.label.method === "people") return "by people";
  return `${feedback.label.method}, ${feedback.audit ? "audited" : "not audited"}`;
}

/**
 * `tenet validate`: what a recipe resolves to, or everything that is wrong with it; what is to be thought over in the files that it
 * names. Of a constitution alone, what it holds. Gives the exit code: 1 where `endpoints` finds a model without a server that answers.
 */
export async function validate(io: Io, file: string, options: ValidateOptions): Promise<number> {
  const { isConstitution } = await import("@tenet/align");
  if (await isConstitution(file)) {
    await validateConstitution(io, file, options);
    return EXIT.done;
  }
  const open = await openChanged(file, options);
  const { name, recipe, written, constitution, demonstrations } = open;
  const { dataWarnings, unsetKeys, unsetKeyText, warningsOf } = await import("@tenet/align");
  const unset = unsetKeys(recipe, io.env).map((key) => `${unsetKeyText(key)} here: a run needs it`);
  const warnings = [...warningsOf(open), ...unset, ...(await dataWarnings(open))];
  const servers = options.endpoints ? await reached(io, open) : undefined;
  const code = servers?.some(({ dead }) => dead) ? EXIT.failed : EXIT.done;
  if (options.json) {
    const asked = servers && { servers: servers.flatMap(({ all }) => all) };
    printJson(io, { valid: true, file, name, recipe: written, warnings, ...asked });
    return code;
  }
  const pathOf = (reference: string | { path: string } | undefined) =>
    reference === undefined ? "none" : typeof reference === "string" ? reference : reference.path;
  const checks = constitution.principles.reduce((sum, principle) => sum + principle.checks.length, 0);
  const roles = Object.entries(written.roles).flatMap(([role, reference]) =>
    reference === undefined ? [] : [`${role}: ${roleName(reference)}`],
  );
  const { supervised, policy } = recipe;
  const lines: [string, string][] = [
    ["recipe", `${name}, seed ${recipe.seed}`],
    ["model", [recipe.model, ...roles].join("; ")],
    [
      "constitution",
      `${constitution.name} ${constitution.version}: ${constitution.principles.length} principles, ${checks} checks`,
    ],
    ["prompts", `${pathOf(written.prompts.train)}; held out: ${pathOf(written.prompts.heldOut)}`],
    [
      "supervised",
      `${supervised.revisions} rounds of revision, ${demonstrations.length} demonstrations, ${supervised.epochs} epochs`,
    ],
    [
      "reinforcement",
      policy ? `${policy.algorithm}; labels: ${labelsText(recipe)}` : "none: the run ends with the supervised model",
    ],
  ];
  const said = warnings.map((warning) => `warning: ${warning}\n`).join("");
  say(
    io,
    `${table(lines)}\n\n${servers ? serversText(servers) : ""}${said}${file} is in order${said === "" ? "" : ", but think over what is warned of"}. Next: ${commandName(io)} run ${shellWord(file)} --dry-run\n`,
  );
  return code;
}

/** The servers of a role, and whether all that it needs of them are dead. */
interface Asked {
  readonly role: string;
  readonly all: readonly EndpointReached[];
  readonly dead: boolean;
}

async function reached(io: Io, open: OpenRecipe): Promise<Asked[]> {
  const { endpointsReached } = await import("@tenet/align");
  const found = await endpointsReached(open, io.env);
  return [...new Set(found.map(({ role }) => role))].map((role) => {
    const all = found.filter((one) => one.role === role);
    const gone = all.filter(({ dead }) => dead !== undefined).length;
    // Every server that the policy speaks by has to take its adapters; of others one does.
    return { role, all, dead: role === "engine.generation" ? gone > 0 : gone === all.length };
  });
}

function serversText(servers: readonly Asked[]): string {
  if (servers.length === 0) return "the recipe names no server\n\n";
  const rows = servers.flatMap(({ role, all }) => all.map(({ address, dead }) => [role, address, dead ?? "answers"]));
  const none = servers.filter(({ dead }) => dead).map(({ role }) => role);
  return `${table(rows)}\n\n${none.length > 0 ? `a run will fail: too few servers of ${none.join(", ")} answer\n` : ""}`;
}

async function validateConstitution(io: Io, file: string, { allowModules, json }: RunCommandOptions): Promise<void> {
  const { loadConstitution } = await import("@tenet/align");
  const { name, version, principles } = await loadConstitution(file, { allowModules });
  const facts = principles.map(({ id, checks }) => ({ id, checks: checks.length }));
  if (json) return printJson(io, { valid: true, file, constitution: name, version, principles: facts });
  const rows = facts.map(({ id, checks }) => [
    id,
    checks === 0 ? "no check: nothing measures it" : `${checks} ${checks === 1 ? "check" : "checks"}`,
  ]);
  say(
    io,
    `${table([["constitution", `${name} ${version}`], ...rows])}\n\n${file} is in order. Next: name it in a recipe (constitution: ${file}), whose prompts the checks are then tried on\n`,
  );
}
