export { exportOnnx, type OnnxExportOptions, onnxNames } from "./export.ts";
export { onnxFaults, openOnnxRuntime } from "./proof.ts";
export { type OnnxWriteType, onnxWriteTypes } from "./weights.ts";
