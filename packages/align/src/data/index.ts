export { DatasetError, ExportError, MixtureError } from "./errors.ts";
export { htmlToText } from "./html.ts";
export { type Mixture, type MixtureOptions, type MixtureShare, type MixtureSource, mix } from "./mix.ts";
export { type Dataset, type DatasetFormat, type DatasetOptions, openDataset } from "./open.ts";
export { type Aside, type Collected, collect, type Read, rowsOf } from "./read.ts";
export type { Kinds as DatasetKinds } from "./records.ts";
export * from "./rows.ts";
export { type SplitOptions, sideOf, splitRows } from "./split.ts";
export { answerScore, type StackExchangeOptions } from "./stackexchange.ts";
