export * from "@tenet/data";
export * from "@tenet/train";
export * from "./constitution/index.ts";
export * from "./evaluate/index.ts";
export * from "./feedback/index.ts";
export * from "./people/index.ts";
export * from "./pipeline/index.ts";
export * from "./prompts/index.ts";
