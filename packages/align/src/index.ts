export * from "./data/index.ts";
export * from "./evaluate/index.ts";
