import * as custom from "./custom.ts";
import * as elementwise from "./elementwise.ts";
import * as gather from "./gather.ts";
import * as repetition from "./loop.ts";
import * as matmul from "./matmul.ts";
import * as normalize from "./normalize.ts";
import * as quantized from "./quantized.ts";
import * as reduce from "./reduce.ts";
import * as rotary from "./rotary.ts";
import * as layout from "./shape.ts";
import * as sort from "./sort.ts";
import * as source from "./source.ts";

/** Every op by its name. A reference kernel is due for each: the table of kernels is typed by this one. */
export const ops = {
  // Values that enter a graph
  input: source.graphInput,
  constant: source.constantOp,
  fill: source.fillOp,
  iota: source.iotaOp,
  size: source.sizeOp,
  // Elementwise
  add: elementwise.add.op,
  sub: elementwise.sub.op,
  mul: elementwise.mul.op,
  div: elementwise.div.op,
  maximum: elementwise.maximum.op,
  minimum: elementwise.minimum.op,
  neg: elementwise.neg.op,
  abs: elementwise.abs.op,
  sign: elementwise.sign.op,
  floor: elementwise.floor.op,
  exp: elementwise.exp.op,
  log: elementwise.log.op,
  sqrt: elementwise.sqrt.op,
  reciprocal: elementwise.reciprocal.op,
  power: elementwise.power,
  clip: elementwise.limit,
  sin: elementwise.sin.op,
  cos: elementwise.cos.op,
  tanh: elementwise.tanh.op,
  erf: elementwise.erf.op,
  sigmoid: elementwise.sigmoid.op,
  softplus: elementwise.softplus.op,
  relu: elementwise.relu.op,
  silu: elementwise.silu.op,
  gelu: elementwise.gelu.op,
  geluTanh: elementwise.geluTanh.op,
  not: elementwise.not.op,
  and: elementwise.and.op,
  or: elementwise.or.op,
  equal: elementwise.equal.op,
  less: elementwise.less.op,
  lessEqual: elementwise.lessEqual.op,
  where: elementwise.select,
  cast: elementwise.convert,
  stopGradient: elementwise.stop,
  // Reductions and scans
  sum: reduce.reduceSum,
  mean: reduce.reduceMean,
  max: reduce.reduceMax,
  min: reduce.reduceMin,
  argMax: reduce.argMaxOp,
  cumulativeSum: reduce.cumulativeSumOp,
  // Products
  matmul: matmul.matmulOp,
  addMatmul: matmul.addMatmulOp,
  int8Matmul: quantized.int8MatmulOp,
  int4Matmul: quantized.int4MatmulOp,
  // Normalisation and attention
  softmax: normalize.softmaxOp,
  logSoftmax: normalize.logSoftmaxOp,
  rmsNorm: normalize.rmsNormOp,
  layerNorm: normalize.layerNormOp,
  rotary: rotary.rotaryOp,
  // Layout
  reshape: layout.reshapeOp,
  transpose: layout.transposeOp,
  broadcastTo: layout.broadcastToOp,
  slice: layout.sliceOp,
  concat: layout.concatOp,
  pad: layout.padOp,
  flip: layout.flipOp,
  after: layout.afterOp,
  // Indexing and order
  gather: gather.gatherOp,
  gatherAlong: gather.gatherAlongOp,
  scatterAdd: gather.scatterAddOp,
  scatterAddAlong: gather.scatterAddAlongOp,
  topK: sort.topKOp,
  // Steps in one call
  loop: repetition.loopOp,
  loopParameter: repetition.loopParameterOp,
  // Gradients of one's own
  customGradient: custom.customGradientOp,
};

export type OpName = keyof typeof ops;
/** Attributes an op's nodes carry. */
export type AttrsOf<Name extends OpName> = (typeof ops)[Name] extends { infer(inputs: never, attrs: infer A): unknown }
  ? A
  : never;
