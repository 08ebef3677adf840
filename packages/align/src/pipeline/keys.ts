import { isServed, type Recipe } from "./recipe.ts";

/** An environment variable that endpoints of a recipe name for their key, and that is not set. */
export interface UnsetKey {
  readonly variable: string;
  /** Roles whose endpoint names it. */
  readonly roles: readonly string[];
}

/** Those of a recipe, by default in the environment of this process. */
export function unsetKeys(
  { roles }: Pick<Recipe, "roles">,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): UnsetKey[] {
  const unset = new Map<string, string[]>();
  for (const [name, role] of Object.entries(roles)) {
    if (!isServed(role) || role.apiKeyVariable === undefined) continue;
    if (environment[role.apiKeyVariable]?.trim()) continue;
    unset.set(role.apiKeyVariable, [...(unset.get(role.apiKeyVariable) ?? []), name]);
  }
  return [...unset].map(([variable, names]) => ({ variable, roles: names }));
}

/** One of them in words. */
export function unsetKeyText({ variable, roles }: UnsetKey): string {
  const places = roles.map((role) => `roles.${role}.apiKeyVariable`).join(" and ");
  return `the environment variable ${variable}, named by ${places}, is not set`;
}
