import { z } from "zod";

type Json = z.core.JSONSchema.BaseSchema;

/** What a schema says of itself: a page for people, and JSON Schema for editors. */
export interface SchemaReference {
  markdown: string;
  jsonSchema: Json;
}

/**
 * A reference of everything a document may say, from its schema: a table of name, type, default and description for each
 * mapping, nested ones in sections of their own. Descriptions are those of `.describe()` or `.meta({ description })`.
 *
 * `title` is the page's heading; `level` its depth, 1 by default.
 */
export function schemaReference(
  schema: z.core.$ZodType,
  { title = "Reference", level = 1 }: { title?: string; level?: number } = {},
): SchemaReference {
  const jsonSchema = z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }) as Json;
  const sections: string[] = [];

  const section = (path: string, object: Json, depth: number, around: readonly unknown[]) => {
    const heading = `${"#".repeat(Math.min(6, depth))} ${path === "" ? title : path}`;
    const required = new Set(object.required ?? []);
    const rows: string[] = [];
    const nested: { path: string; json: Json }[] = [];
    for (const [name, property] of Object.entries(object.properties ?? {})) {
      if (typeof property === "boolean") continue;
      const json = resolve(property, jsonSchema);
      const standing =
        json.default !== undefined ? code(JSON.stringify(json.default)) : required.has(name) ? "required" : "";
      rows.push(`| \`${name}\` | ${typeOf(json, jsonSchema)} | ${standing} | ${cell(json.description ?? "")} |`);
      const below = path === "" ? name : `${path}.${name}`;
      for (const mapping of mappingsIn(json, jsonSchema))
        nested.push({ path: below + mapping.suffix, json: mapping.json });
    }
    const description = object.description ? [object.description, ""] : [];
    const table = rows.length > 0 ? ["| name | type | default | description |", "|---|---|---|---|", ...rows, ""] : [];
    sections.push([heading, "", ...description, ...table].join("\n"));
    // A schema that contains itself is described once on each way down.
    const inside = [...around, object.properties];
    for (const { path: below, json } of nested)
      if (!inside.includes(json.properties)) section(below, json, level + 1, inside);
  };

  const roots = mappingsIn(jsonSchema, jsonSchema);
  for (const { suffix, json } of roots) section(suffix, json, level, []);
  return { markdown: `${sections.join("\n").trimEnd()}\n`, jsonSchema };
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
  if (json.type === "array") return isSchema(json.items) ? `list of ${typeOf(json.items, root)}` : "list";
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
