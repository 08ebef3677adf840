import { z } from "zod";

type Json = z.core.JSONSchema.BaseSchema;

/** What a schema says of itself: a page for people, and JSON Schema for editors. */
export interface SchemaReference {
  markdown: string;
  jsonSchema: Json;
}

/**
 * A reference of everything a document may say, from its schema: a table of name, type, default and description for each
 * mapping, nested ones in sections of their own, to which the types link. Mappings that say the same are described once.
 * Descriptions are those of `.describe()` or `.meta({ description })`.
 *
 * `title` is the page's heading; `level` its depth, 1 by default.
 */
export function schemaReference(
  schema: z.core.$ZodType,
  { title = "Reference", level = 1 }: { title?: string; level?: number } = {},
): SchemaReference {
  const jsonSchema = z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }) as Json;
  const sections: string[] = [];
  /** Headings of the sections, by what stands in them. */
  const described = new Map<string, string>();

  const section = (path: string, object: Json, depth: number) => {
    described.set(contents(object), path === "" ? title : path);
    const required = new Set(object.required ?? []);
    const nested: { path: string; json: Json }[] = [];
    const rows: string[] = [];
    for (const [name, property] of Object.entries(object.properties ?? {})) {
      if (typeof property === "boolean") continue;
      const json = resolve(property, jsonSchema);
      const mappings = mappingsIn(json, jsonSchema).map((mapping) => {
        const below = (path === "" ? name : `${path}.${name}`) + mapping.suffix;
        const heading = described.get(contents(mapping.json));
        if (heading !== undefined) return heading;
        described.set(contents(mapping.json), below);
        nested.push({ path: below, json: mapping.json });
        return below;
      });
      const standing =
        json.default !== undefined ? code(JSON.stringify(json.default)) : required.has(name) ? "required" : "";
      // What a record or list holds is named last in its type.
      const links = mappings.map(
        (heading) => `[mapping${/ \([^()]*\)$/.exec(heading)?.[0] ?? ""}](#${anchor(heading)})`,
      );
      const type = typeOf(json, jsonSchema).replace(/mapping(?!.*mapping)/, (word) => links.join(" or ") || word);
      rows.push(`| \`${name}\` | ${type} | ${standing} | ${cell(json.description ?? "")} |`);
    }
    const heading = `${"#".repeat(Math.min(6, depth))} ${path === "" ? title : path}`;
    const description = object.description ? [object.description, ""] : [];
    const table = rows.length > 0 ? ["| name | type | default | description |", "|---|---|---|---|", ...rows, ""] : [];
    sections.push([heading, "", ...description, ...table].join("\n"));
    for (const { path: below, json } of nested) section(below, json, level + 1);
  };

  for (const { suffix, json } of mappingsIn(jsonSchema, jsonSchema)) section(suffix, json, level);
  return { markdown: `${sections.join("\n").trimEnd()}\n`, jsonSchema };
}

/** Equal for mappings of which one description is enough. */
function contents({ properties, required = [] }: Json): string {
  return JSON.stringify([properties, required]);
}

/** What a heading is called in links, as GitHub makes it. */
function anchor(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
    .replaceAll(" ", "-");
}

/** Mappings that a value may be or hold: itself, a union's branches, a list's items, a record's values. */
function mappingsIn(schema: Json, root: Json): { suffix: string; json: Json }[] {
  const json = resolve(schema, root);
  if (json.properties) return [{ suffix: "", json }];
  const branches = alternativesOf(json);
  if (branches) {
    const found = branches.flatMap((branch) => mappingsIn(branch, root));
    return found.length > 1 ? found.map(({ suffix, json }) => ({ suffix: suffix + variant(json), json })) : found;
  }
  const items = (Array.isArray(json.items) ? json.items : [json.items, ...(json.prefixItems ?? [])]).filter(isSchema);
  const held = isSchema(json.additionalProperties) ? [{ suffix: ".<name>", json: json.additionalProperties }] : [];
  return [...items.map((item) => ({ suffix: "[]", json: item })), ...held].flatMap(({ suffix, json: inner }) =>
    mappingsIn(inner, root).map((found) => ({ suffix: suffix + found.suffix, json: found.json })),
  );
}

/** What tells a branch of a union from the others: its fixed values, else its required keys. */
function variant({ properties = {}, required = [] }: Json): string {
  const fixed = Object.entries(properties).flatMap(([name, json]) =>
    isSchema(json) && json.const !== undefined ? [`${name}: ${String(json.const)}`] : [],
  );
  const marks = fixed.length > 0 ? fixed : required;
  return marks.length > 0 ? ` (${marks.join(", ")})` : "";
}

function typeOf(schema: Json, root: Json): string {
  const json = resolve(schema, root);
  const branches = alternativesOf(json);
  if (branches) return [...new Set(branches.map((branch) => typeOf(branch, root)))].join(" or ");
  if (json.const !== undefined) return code(String(json.const));
  if (json.enum) return json.enum.map((value) => code(String(value))).join(", ");
  if (json.type === "array") {
    const items = isSchema(json.items) ? [json.items] : (json.prefixItems ?? []).filter(isSchema);
    const types = [...new Set(items.map((item) => typeOf(item, root)))];
    if (items.length > 1) return `list of ${items.length}: ${types.join(", then ")}`;
    return types.length > 0 ? `list of ${types[0]}` : "list";
  }
  if (json.type === "object")
    return isSchema(json.additionalProperties) ? `mapping of ${typeOf(json.additionalProperties, root)}` : "mapping";
  const name = json.type === undefined ? "any value" : (typeNames[String(json.type)] ?? String(json.type));
  return name + range(json);
}

const typeNames: Record<string, string> = { string: "text", integer: "whole number", boolean: "true or false" };

function range({ minimum, maximum, exclusiveMinimum, exclusiveMaximum }: Json): string {
  const parts = [
    ...(minimum !== undefined && minimum > Number.MIN_SAFE_INTEGER ? [`≥ ${minimum}`] : []),
    ...(exclusiveMinimum !== undefined ? [`> ${exclusiveMinimum}`] : []),
    ...(maximum !== undefined && maximum < Number.MAX_SAFE_INTEGER ? [`≤ ${maximum}`] : []),
    ...(exclusiveMaximum !== undefined ? [`< ${exclusiveMaximum}`] : []),
  ];
  return parts.length > 0 ? `, ${parts.join(", ")}` : "";
}

function alternativesOf(json: Json): Json[] | undefined {
  return (json.anyOf ?? json.oneOf)?.filter(isSchema);
}

function isSchema(value: unknown): value is Json {
  return typeof value === "object" && value !== null;
}

/** Follows `$ref`s within the schema; beside one, description and default are the place's own. */
function resolve(json: Json, root: Json): Json {
  if (json.$ref === undefined) return json;
  const target = json.$ref
    .replace(/^#\/?/, "")
    .split("/")
    .filter((part) => part !== "")
    .reduce<unknown>((at, part) => (isSchema(at) ? (at as Record<string, unknown>)[part] : undefined), root);
  const { $ref: _, ...own } = json;
  return isSchema(target) ? { ...resolve(target, root), ...own } : own;
}

function code(text: string): string {
  return `\`${cell(text)}\``;
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll(/\s+/g, " ").trim();
}
