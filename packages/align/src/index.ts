export * from "./data/index.ts";
export * from "./pipeline/index.ts";
