export * from "./adapter/index.ts";
export * from "./catalogue/index.ts";
export {
  type Checkpoint,
  CheckpointError,
  type ModelConfig,
  type ModelShell,
  openCheckpoint,
  openShell,
} from "./checkpoint/index.ts";
export { byteCharacters, type TinyText, unitNoise, writeTinyModel } from "./checkpoint/tiny-model.ts";
export * from "./decoder/index.ts";
export * from "./endpoint/index.ts";
export * from "./gguf/index.ts";
export * from "./language-model/index.ts";
export * from "./local/index.ts";
export * from "./onnx/index.ts";
export * from "./proof/index.ts";
export * from "./serve/index.ts";
export * from "./text/index.ts";
