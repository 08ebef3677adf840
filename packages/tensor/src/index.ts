export { cacheFolder } from "./cache.ts";
export { type CacheFile, pruneCache, taken, touch, writeWhole } from "./cache-files.ts";
export { checkpoint } from "./checkpoint.ts";
export {
  type CompileOptions,
  compile,
  type Feed,
  type Feeds,
  type Outputs,
  Program,
  type Results,
  type TensorData,
} from "./compile.ts";
export {
  type CudaWheel,
  cudaFolder,
  cudaUnavailable,
  cudaWheels,
  librariesOf,
  missingLibraries,
  ownRuntimeLibrary,
} from "./cuda.ts";
export { describe, matmulFlops } from "./describe.ts";
export { type DeviceName, type DeviceReport, listDevices, resolveDevice, runtimeVersion } from "./device.ts";
export { type Dim, dimAdd, dimDiv, dimMul, dimSub, numel, type Shape } from "./dims.ts";
export { DeviceError, FeedError, GradientError, ShapeError, TensorError } from "./errors.ts";
export { grad, vjp } from "./grad.ts";
export { encodeOnnx, OnnxFile, type OnnxFileOptions, type OnnxValue } from "./onnx/file.ts";
export { fromHalf, toHalf } from "./onnx/float16.ts";
export { type Backward, customGradient, type WithGradient } from "./ops/custom.ts";
export {
  abs,
  add,
  and,
  cast,
  clip,
  cos,
  div,
  equal,
  erf,
  exp,
  floor,
  gelu,
  geluTanh,
  greater,
  greaterEqual,
  less,
  lessEqual,
  log,
  logSigmoid,
  maximum,
  minimum,
  mul,
  neg,
  not,
  or,
  pow,
  reciprocal,
  relu,
  sigmoid,
  sign,
  silu,
  sin,
  softplus,
  sqrt,
  stopGradient,
  sub,
  tanh,
  where,
} from "./ops/elementwise.ts";
export { gather, gatherAlong, oneHot, scatterAdd, scatterAddAlong } from "./ops/gather.ts";
export { type LoopStep, loop } from "./ops/loop.ts";
export { addMatmul, flattenRows, type MatmulOptions, matmul, transposeMatrix } from "./ops/matmul.ts";
export { layerNorm, logSoftmax, rmsNorm, softmax } from "./ops/normalize.ts";
export { int4Block, int4Matmul, int8Matmul } from "./ops/quantized.ts";
export { argMax, cumulativeSum, logSumExp, max, mean, min, sum, sumTo } from "./ops/reduce.ts";
export { rotary } from "./ops/rotary.ts";
export { after, broadcastTo, concat, expandDims, flip, pad, reshape, slice, split, transpose } from "./ops/shape.ts";
export { type Ordered, sort, topK } from "./ops/sort.ts";
export {
  constant,
  fill,
  input,
  iota,
  scalar,
  sizeOf,
  type TypedData,
  type WeightSource,
  weight,
} from "./ops/source.ts";
export { AdamW, type AdamWOptions, type AdamWState, decodeAdamW, encodeAdamW } from "./optim/adamw.ts";
export { clipByGlobalNorm, GradientAccumulator, globalNorm } from "./optim/gradients.ts";
export { type ScheduleOptions, schedule } from "./optim/schedule.ts";
export { type ParameterRange, ParameterSet, type ParameterShapes } from "./parameters.ts";
export { peakBytes } from "./peak.ts";
export { ProgramPool } from "./program-pool.ts";
export { type SessionCounts, sessionCounts } from "./session.ts";
export { type DType, type Operand, Tensor, type TensorType } from "./tensor.ts";
export { checkThreads, ThreadsError } from "./threads.ts";
