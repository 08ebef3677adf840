export { cacheFolder } from "./cache.ts";
export {
  type Catalogue,
  type CatalogueEntry,
  catalogue,
  catalogueSchema,
  lookUp,
  type ModelSource,
} from "./catalogue.ts";
export { DownloadError, IntegrityError, ModelReferenceError } from "./errors.ts";
export type { DownloadProgress } from "./fetching.ts";
export { type ModelReference, parseReference } from "./reference.ts";
export { type ResolveOptions, resolveModel } from "./resolve.ts";
export { findPython } from "./wheel.ts";
