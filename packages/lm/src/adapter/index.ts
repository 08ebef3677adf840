export { type Adapter, adapterFactors, adapterShapes, loadAdapter, saveAdapter } from "./folder.ts";
export { initialiseAdapter } from "./initialise.ts";
export { type MergeOptions, mergeAdapter } from "./merge.ts";
