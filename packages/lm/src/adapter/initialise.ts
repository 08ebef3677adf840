import { type RandomStream, randomStream } from "@tenet/data";
import type { ParameterSet } from "@tenet/tensor";

/**
 * Sets an adapter's parameters to where training starts, as PEFT and transformers do: A uniform within ±1/√in (He's
 * initialisation with a = √5), B zero, so that the model is unchanged; a scalar head normal with deviation 0.02.
 * Each parameter has its own stream of (seed, name): values do not depend on which others there are.
 */
export function initialiseAdapter(parameters: ParameterSet, { seed }: { readonly seed: number }): void {
  for (const { name, shape } of parameters.ranges) {
    const values = parameters.view(name);
    const stream = randomStream({ seed, stage: "adapter", item: name });
    if (name.endsWith(".lora_B.weight")) values.fill(0);
    else if (name.endsWith(".lora_A.weight")) {
      const bound = 1 / Math.sqrt(shape[1]!);
      for (let i = 0; i < values.length; i++) values[i] = (2 * stream.uniform(i) - 1) * bound;
    } else for (let i = 0; i < values.length; i++) values[i] = 0.02 * normal(stream, i);
  }
}

/** Box and Muller's: two uniform numbers to one of the standard normal distribution. */
function normal(stream: RandomStream, draw: number): number {
  const radius = Math.sqrt(-2 * Math.log(1 - stream.uniform(2 * draw)));
  return radius * Math.cos(2 * Math.PI * stream.uniform(2 * draw + 1));
}
