export * from "./document.ts";
export { nearest } from "./nearest.ts";
export * from "./problem.ts";
export { type SchemaReference, schemaReference } from "./reference.ts";
export { readYaml, type Source } from "./yaml.ts";
