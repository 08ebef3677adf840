export { exportGgufAdapter } from "./adapter.ts";
export { type GgufWriteType, ggufWriteTypes } from "./encode.ts";
export { exportGguf, type GgufExport, type GgufExportOptions } from "./export.ts";
export { startLlamaServer } from "./llama-server.ts";
export { modelfile } from "./modelfile.ts";
export { type ExportProof, type ExportRuntime, ownRuntime, proveExport, weightFaults } from "./proof.ts";
