/*
 * What the server answers, for both sides: the page imports this file and nothing else of the server. Plain JSON; times are
 * ISO 8601; what was not measured is absent, never 0.
 */

export * from "./api/common.ts";
export * from "./api/compare.ts";
export * from "./api/constitutions.ts";
export * from "./api/monitors.ts";
export * from "./api/review.ts";
export * from "./api/rows.ts";
export * from "./api/runs.ts";
export * from "./api/verdict.ts";
export * from "./api/work.ts";
