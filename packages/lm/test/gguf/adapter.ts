import { ParameterSet } from "@tenet/tensor";
import { adapterShapes, type Factors } from "../../src/adapter/index.ts";
import type { ModelConfig } from "../../src/checkpoint/index.ts";

/** An adapter of every module, drawn at random. */
export function randomAdapter(config: ModelConfig, seed: number, size = 0.4): Factors {
  const lora = { rank: 2, alpha: 4 };
  const parameters = new ParameterSet(adapterShapes(config, lora));
  let state = seed;
  for (const { name } of parameters.ranges) {
    const view = parameters.view(name);
    for (let i = 0; i < view.length; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      view[i] = (state / 2 ** 32 - 0.5) * size;
    }
  }
  return { lora, parameters };
}
