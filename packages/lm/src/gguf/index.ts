export { exportGgufAdapter } from "./adapter.ts";
export { compensatedBlocks } from "./compensate.ts";
export { type CompensatedBlocks, type GgufWriteType, ggufWriteTypes } from "./encode.ts";
export { exportGguf, type GgufExport, type GgufExportOptions } from "./export.ts";
export { ggufAdapterFaults, weightFaults } from "./faults.ts";
