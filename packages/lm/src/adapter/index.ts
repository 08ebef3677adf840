export { adapterConfigJson } from "./config.ts";
export { type Adapter, adapterFactors, adapterShapes, type Factors, loadAdapter, saveAdapter } from "./folder.ts";
export { initialiseAdapter } from "./initialise.ts";
export { type MergeOptions, mergeAdapter, mergedWeight } from "./merge.ts";
