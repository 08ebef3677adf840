export { startLlamaServer } from "./llama-server.ts";
export { ExportRuntimeError } from "./program.ts";
export {
  type ExportProof,
  type ExportRuntime,
  ownRuntime,
  type ProofReply,
  proveExport,
  type Tolerance,
} from "./proof.ts";
export { startTransformers } from "./transformers.ts";
export { mostVllmRanks, startVllm, vllmServes } from "./vllm.ts";
