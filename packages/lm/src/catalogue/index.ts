export { cacheFolder } from "@tenet/tensor";
export {
  type Catalogue,
  type CatalogueEntry,
  catalogue,
  catalogueSchema,
  lookUp,
  type ModelSource,
} from "./catalogue.ts";
export { type DownloadOptions, download, type ExpectedFile, verify } from "./download.ts";
export { DownloadError, IntegrityError, ModelReferenceError } from "./errors.ts";
export type { DownloadProgress } from "./fetching.ts";
export { withLock } from "./lock.ts";
export { fileAddress, packageIndex, withoutKey } from "./package-index.ts";
export { type ModelReference, parseReference } from "./reference.ts";
export { type ResolvedModel, type ResolveOptions, resolveModel, resolveSource } from "./resolve.ts";
export { extractMember, findPython } from "./wheel.ts";
