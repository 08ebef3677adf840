export { exportGgufAdapter } from "./adapter.ts";
export { type GgufWriteType, ggufWriteTypes } from "./encode.ts";
export { exportGguf, type GgufExport, type GgufExportOptions } from "./export.ts";
export { ExportRuntimeError, startLlamaServer } from "./llama-server.ts";
export {
  type ExportProof,
  type ExportRuntime,
  ggufAdapterFaults,
  ownRuntime,
  proveExport,
  weightFaults,
} from "./proof.ts";
