import { expect, it } from "vitest";
import { lowerGraph } from "../src/compile.ts";
import { input, less, loop } from "../src/index.ts";

/** The ops in the body of a graph's loop. */
function bodyOps(outputs: Parameters<typeof lowerGraph>[0]): string[] {
  const { graph } = lowerGraph(outputs, "cpu");
  const node = graph.node.find(({ op_type }) => op_type === "Loop")!;
  return node.attribute.find(({ name }) => name === "body")!.g!.node.map(({ op_type }) => op_type!);
}

it("a loop's states leave its body as they were computed, without a copy", () => {
  const [x, y] = ["x", "y"].map((name) => input(name, "float32", [3]));
  const computed = loop(4, [x!, y!], (step, [a, b]) => ({ proceed: less(step, 9), states: [a!.add(b!), b!.mul(2)] }));
  expect(bodyOps(computed)).not.toContain("Identity");
});

it("but one that the body does not compute, or gives twice, needs one", () => {
  const [x, y] = ["x", "y"].map((name) => input(name, "float32", [3]));
  const swapped = loop(4, [x!, y!], (step, [a, b]) => ({ proceed: less(step, 9), states: [b!, a!] }));
  expect(bodyOps(swapped).filter((op) => op === "Identity").length).toBe(2);
  const twice = loop(4, [x!, y!], (step, [a]) => {
    const next = a!.mul(2);
    return { proceed: less(step, 9), states: [next, next] };
  });
  expect(bodyOps(twice).filter((op) => op === "Identity").length).toBe(1);
});
