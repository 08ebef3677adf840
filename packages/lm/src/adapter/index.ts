export { type Adapter, type Factors, adapterFactors, adapterShapes, loadAdapter, saveAdapter } from "./folder.ts";
export { initialiseAdapter } from "./initialise.ts";
export { type MergeOptions, mergeAdapter, mergedWeight } from "./merge.ts";
