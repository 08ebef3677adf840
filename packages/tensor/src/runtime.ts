import { createRequire } from "node:module";
import { cudaLibraries, loadLibraries } from "./cuda.ts";

/*
 * ONNX Runtime looks for its CUDA provider beside its own library. Where CUDA is installed, that library is loaded from the folder that holds
 * both, before the npm package asks for it by name and finds it there: nothing has to be written into node_modules.
 */
loadLibraries(cudaLibraries().runtime);

// An import would stand before the line above.
export const ort: typeof import("onnxruntime-node") = createRequire(import.meta.url)("onnxruntime-node");
