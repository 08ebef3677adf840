import fc from "fast-check";
import { describe as group, it } from "vitest";
import { compile, constant, describe, grad, input, iota, numel, reshape, scalar, type Tensor } from "../src/index.ts";
import { arrayTypes } from "../src/onnx/builder.ts";
import type { Case, CaseInput, OpCases } from "./cases/case.ts";
import { evaluate, type Values } from "./reference.ts";

/** Step of the central differences and what they may be off by, relative to max(1, |value|). */
const step = 1e-5;
const differenceTolerance = 1e-6;
const runtimeTolerance = 4e-6;

const numRuns = Number(process.env.OP_CASES ?? 24);
const seed = Number(process.env.OP_SEED ?? 1);

/** A test an op. */
export function testCases(name: string, table: Readonly<Record<string, OpCases>>): void {
  group(name, () => {
    for (const [op, cases] of Object.entries(table)) it(op, () => checkOp(cases), 600_000);
  });
}

/** All cases in one graph, which is fast; one by one and shrinking when that fails. */
async function checkOp(cases: OpCases): Promise<void> {
  const generated = fc.gen().map((g) => {
    const one = cases.make(g);
    return { ...one, [fc.toStringMethod]: () => caseText(one) };
  });
  try {
    await checkCases(fc.sample(generated, { numRuns, seed }), cases);
  } catch (failure) {
    await fc.assert(
      fc.asyncProperty(generated, (one) => checkCases([one], cases)),
      { numRuns, seed },
    );
    throw failure;
  }
}

interface Built {
  readonly given: Case;
  readonly xs: readonly Tensor[];
  readonly ys: readonly Tensor[];
  /** Inputs a gradient is taken by. */
  readonly targets: readonly Tensor[];
  readonly loss: Tensor | undefined;
  readonly gradients: readonly Tensor[];
  readonly feeds: Readonly<Record<string, Values>>;
}

/**
 * Checks cases of one op:
 * values and gradients of ONNX Runtime in float32 against the reference in float64, gradients and their gradients
 * against central differences in float64, and once more on the runtime with names in place of sizes.
 */
async function checkCases(cases: readonly Case[], { tolerance, zeroGradient, notSymbolic }: OpCases) {
  const built = cases.map((given, i) => build(given, `c${i}`, false));
  const expected = built.map((one) => evaluate([...one.ys, ...one.gradients], one.feeds));
  const seconds = built.map((one) => lossOf(one.gradients, one.targets));
  built.forEach((one, i) => {
    const gradients = expected[i]!.slice(one.ys.length);
    if (zeroGradient) {
      for (const { data } of gradients) compare(one, "gradient", data, new Float64Array(data.length), 0);
    } else {
      checkDifferences(one, "gradient", one.loss, one.gradients);
      checkDifferences(one, "second gradient", seconds[i]!.loss, seconds[i]!.gradients);
    }
  });
  await checkRuntime(built, expected, tolerance ?? runtimeTolerance);

  if (notSymbolic) return;
  const named = cases.map((given, i) => build(given, `c${i}`, true));
  named.forEach((one, i) => {
    // The inputs come along for their sizes.
    const second = evaluate([...lossOf(one.gradients, one.targets).gradients, ...one.xs], one.feeds);
    evaluate(seconds[i]!.gradients, one.feeds).forEach(({ data }, j) => {
      compare(one, `second gradient by target ${j}, with names for sizes`, second[j]!.data, data, 1e-12);
    });
  });
  await checkRuntime(named, expected, tolerance ?? runtimeTolerance);
}

function build(given: Case, name: string, symbolic: boolean): Built {
  const dim = (size: number, axis: number, { fixed = [] }: CaseInput) =>
    symbolic && size !== 1 && !fixed.includes(axis) ? `size${size}` : size;
  const xs = given.inputs.map((x, i) =>
    input(
      `${name}_${i}`,
      x.dtype,
      x.shape.map((size, axis) => dim(size, axis, x)),
    ),
  );
  const made = given.build(...xs);
  const ys = "node" in made ? [made] : [...made];
  const targets = xs.filter((x, i) => x.dtype === "float32" && !given.inputs[i]!.constant);
  const { loss, gradients } = lossOf(ys, targets);
  const feeds = Object.fromEntries(
    given.inputs.map((x, i) => [`${name}_${i}`, { shape: x.shape, data: Float64Array.from(x.data) }]),
  );
  return { given, xs, ys, targets, loss, gradients, feeds };
}

/** A scalar every element of the outputs has another weight in, and its gradients. */
function lossOf(outputs: readonly Tensor[], targets: readonly Tensor[]) {
  const terms = outputs.filter((y) => y.dtype === "float32").map((y, i) => y.mul(weights(y, i)).sum());
  if (terms.length === 0 || targets.length === 0) return { loss: undefined, gradients: [] };
  const loss = terms.reduce((a, b) => a.add(b), scalar(0));
  return { loss, gradients: grad(loss, targets) };
}

/** Weights exact in float32 and nowhere 0: eleven of them in turn, in the graph where the number of elements is symbolic. */
function weights({ shape }: Tensor, i: number): Tensor {
  if (shape.every((dim) => typeof dim === "number"))
    return constant(
      Float32Array.from({ length: numel(shape) as number }, (_, n) => ((7 * n + i) % 11) / 8 - 0.5625),
      shape,
    );
  const places = iota(numel(shape)).mul(7).add(i);
  const turn = places.sub(places.div(11).mul(11));
  return reshape(turn.cast("float32").div(8).sub(0.5625), shape);
}

function checkDifferences(one: Built, what: string, loss: Tensor | undefined, gradients: readonly Tensor[]): void {
  if (!loss) return;
  const values = evaluate(gradients, one.feeds);
  one.targets.forEach((x, t) => {
    const at = one.xs.indexOf(x);
    const name = Object.keys(one.feeds)[at]!;
    const { shape, data } = one.feeds[name]!;
    const lossAt = (i: number, delta: number) => {
      const moved = Float64Array.from(data);
      moved[i]! += delta;
      return evaluate([loss], { ...one.feeds, [name]: { shape, data: moved } })[0]!.data[0]!;
    };
    const differences = data.map((_, i) => (lossAt(i, step) - lossAt(i, -step)) / (2 * step));
    compare(one, `${what} by input ${at}`, values[t]!.data, differences, differenceTolerance);
  });
}

async function checkRuntime(built: readonly Built[], expected: readonly Values[][], tolerance: number): Promise<void> {
  const program = await compile(
    () => Object.fromEntries(built.map((one, i) => [`c${i}`, [...one.ys, ...one.gradients]])),
    { threads: 1 },
  );
  try {
    const feeds = built.flatMap(({ given, xs, feeds }) => {
      const names = Object.keys(feeds);
      return given.inputs.map((x, i) => {
        const data = arrayTypes[xs[i]!.dtype].from(x.data);
        return [names[i]!, { shape: x.shape, data }] as const;
      });
    });
    const known = new Set(program.inputs.map((spec) => spec.name));
    const results = await program.run(Object.fromEntries(feeds.filter(([name]) => known.has(name))));
    built.forEach((one, i) => {
      results[`c${i}`]!.forEach((got, j) => {
        const want = expected[i]![j]!;
        const what = `ONNX Runtime's ${j < one.ys.length ? `output ${j}` : `gradient by target ${j - one.ys.length}`}`;
        if (`${got.shape}` !== `${want.shape}`)
          throw new Error(`${what}: shape [${got.shape}], expected [${want.shape}]\n${text(one)}`);
        compare(one, what, Float64Array.from(got.data), want.data, tolerance);
      });
    });
  } finally {
    await program.dispose();
  }
}

function compare(one: Built, what: string, got: Float64Array, want: Float64Array, tolerance: number): void {
  if (got.length !== want.length)
    throw new Error(`${what}: ${got.length} values, expected ${want.length}\n${text(one)}`);
  want.forEach((value, i) => {
    // Written so that NaN fails.
    if (!(Math.abs(got[i]! - value) <= tolerance * Math.max(1, Math.abs(value))))
      throw new Error(`${what}: element ${i} is ${got[i]}, expected ${value}\n${text(one)}`);
  });
}

/** A case as text: its graph and what it was fed. */
function text({ ys, feeds }: Built): string {
  const fed = Object.entries(feeds).map(([name, { shape, data }]) => `${name} [${shape}] = ${data.join(", ")}`);
  return [describe({ ys }), ...fed].join("\n");
}

/** A case on its own as text, for the counterexamples of failing properties. */
function caseText(given: Case): string {
  try {
    return `\n${text(build(given, "x", false))}\n`;
  } catch (error) {
    return `\n${given.inputs.map((x) => `${x.dtype}[${x.shape}]`).join(", ")}: ${error}\n`;
  }
}
