import type { TensorData } from "./compile.ts";
import { numel } from "./dims.ts";
import { TensorError } from "./errors.ts";
import { grad } from "./grad.ts";
import { concat, reshape } from "./ops/shape.ts";
import { input } from "./ops/source.ts";
import type { Tensor } from "./tensor.ts";

export type ParameterShapes = Readonly<Record<string, readonly number[]>>;

/** Where one parameter stands in the flat vector. */
export interface ParameterRange {
  readonly name: string;
  readonly shape: readonly number[];
  readonly start: number;
  readonly end: number;
}

/**
 * Trainable parameters: one flat float32 vector, and for each name a view of it and a graph input. Optimisers work on
 * the vector; graphs see the inputs; nothing is copied between them.
 */
export class ParameterSet {
  /** All values, parameter after parameter. */
  readonly data: Float32Array<ArrayBuffer>;
  readonly ranges: readonly ParameterRange[];
  /** The graph input of each parameter. */
  readonly tensors: Readonly<Record<string, Tensor>>;
  readonly #feeds: Readonly<Record<string, TensorData>>;

  constructor(shapes: ParameterShapes) {
    let at = 0;
    this.ranges = Object.entries(shapes).map(([name, shape]) => {
      const start = at;
      at += numel(shape);
      return { name, shape, start, end: at };
    });
    this.data = new Float32Array(at);
    this.tensors = Object.fromEntries(this.ranges.map(({ name, shape }) => [name, input(name, "float32", shape)]));
    this.#feeds = Object.fromEntries(this.ranges.map(({ name, shape }) => [name, { shape, data: this.view(name) }]));
  }

  /** Number of parameters (elements). */
  get size(): number {
    return this.data.length;
  }

  /** The values of one parameter; writing to them changes it. @throws TensorError for an unknown name */
  view(name: string): Float32Array<ArrayBuffer> {
    const range = this.ranges.find((r) => r.name === name);
    if (!range)
      throw new TensorError(
        `there is no parameter "${name}"; the set holds ${this.ranges.map((r) => r.name).join(", ")}`,
      );
    return this.data.subarray(range.start, range.end);
  }

  /** The current values, as `run` takes them; arrays are shared, so they stay current. */
  feeds(): Readonly<Record<string, TensorData>> {
    return this.#feeds;
  }

  /** Gradient of a scalar by all parameters, in the order of the flat vector: [size]. */
  gradient(loss: Tensor): Tensor {
    const gradients = grad(loss, this.tensors);
    return concat(this.ranges.map(({ name }) => reshape(gradients[name]!, [-1])));
  }
}
