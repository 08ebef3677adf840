export * from "./constitution/index.ts";
export * from "./data/index.ts";
export * from "./document/index.ts";
export * from "./evaluate/index.ts";
export * from "./feedback/index.ts";
export * from "./pipeline/index.ts";
export * from "./reward/index.ts";
export * from "./train/index.ts";
