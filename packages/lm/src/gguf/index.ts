export { exportGgufAdapter } from "./adapter.ts";
export { type GgufWriteType, ggufWriteTypes } from "./encode.ts";
export { exportGguf, type GgufExport, type GgufExportOptions } from "./export.ts";
export { ggufAdapterFaults, weightFaults } from "./faults.ts";
