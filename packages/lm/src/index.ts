export * from "./decoder/index.ts";
