export { type Checkpoint, CheckpointError, type ModelConfig, openCheckpoint } from "./checkpoint/index.ts";
export * from "./decoder/index.ts";
