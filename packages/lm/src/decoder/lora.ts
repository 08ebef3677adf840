import {
  addMatmul,
  concat,
  customGradient,
  matmul,
  type ParameterShapes,
  split,
  type Tensor,
  transposeMatrix,
} from "@tenet/tensor";
import type { ModelConfig } from "../checkpoint/index.ts";
import type { LayerContext } from "./layer.ts";
import { hasBias, modulePath, type Projection, projectionShape, projections } from "./modules.ts";

export interface LoraConfig {
  /** Width r of the factors. */
  readonly rank: number;
  /** The product of the factors is scaled by alpha / rank. */
  readonly alpha: number;
  /** Matrices that are adapted; all seven of a layer when not given. */
  readonly targets?: readonly Projection[];
}

/** Factors of adapted matrices, as graph tensors: A [rank, in] and B [out, rank] by module path. */
export interface Lora {
  readonly scale: number;
  readonly factors: Readonly<Record<string, { readonly a: Tensor; readonly b: Tensor }>>;
}

/** Shapes of an adapter's parameters, named as PEFT names them (without its prefix). */
export function loraShapes(config: ModelConfig, lora: LoraConfig): ParameterShapes {
  const shapes: Record<string, readonly number[]> = {};
  for (const path of targetPaths(config, lora)) {
    const [out, width] = projectionShape(config, path.slice(path.lastIndexOf(".") + 1) as Projection);
    shapes[`${path}.lora_A.weight`] = [lora.rank, width];
    shapes[`${path}.lora_B.weight`] = [out, lora.rank];
  }
  return shapes;
}

/** The adapter over parameters with those names. */
export function loraFrom(config: ModelConfig, lora: LoraConfig, tensors: Readonly<Record<string, Tensor>>): Lora {
  const pairs = targetPaths(config, lora).map((path) => {
    const [a, b] = [tensors[`${path}.lora_A.weight`]!, tensors[`${path}.lora_B.weight`]!];
    return [path, { a, b }] as const;
  });
  return { scale: lora.alpha / lora.rank, factors: Object.fromEntries(pairs) };
}

function targetPaths(config: ModelConfig, { targets = projections }: LoraConfig): string[] {
  return Array.from({ length: config.num_hidden_layers }, (_, layer) =>
    targets.map((target) => modulePath(layer, target)),
  ).flat();
}

/** Projections with the adapter's factors merged into the matrices: what a training graph projects with. */
export function adaptedProjection(
  config: ModelConfig,
  weight: (name: string) => Tensor,
  lora: Lora | undefined,
): LayerContext["project"] {
  return (x, layer, names) => {
    const paths = names.map((name) => modulePath(layer, name));
    const matrices = paths.map((path) => ({ weight: weight(`${path}.weight`), factors: lora?.factors[path] }));
    return adaptedLinear(x, matrices, lora?.scale ?? 0).map((y, i) =>
      hasBias(config, names[i]!) ? y.add(weight(`${paths[i]}.bias`)) : y,
    );
  };
}

/** A matrix and, where it is adapted, its factors. */
export interface AdaptedWeight {
  /** [out, in] */
  readonly weight: Tensor;
  readonly factors?: { readonly a: Tensor; readonly b: Tensor } | undefined;
}

/**
 * x · (W + s·B·A)ᵀ for several adapted matrices of one input: x [rows, in] → [rows, out] each.
 *
 * The factors are multiplied into the matrix once a step, which costs in·out·r, where applying them to the activations
 * costs rows·(in + out)·r and two more passes over every result. The gradient never forms the full ∂L/∂W:
 * ∂A = s·(dy·B)ᵀ·x, ∂B = s·dyᵀ·(x·Aᵀ), with the A of all matrices in one product. W is frozen.
 * Source: LoRA (arXiv 2106.09685), eq. 3.
 */
export function adaptedLinear(x: Tensor, matrices: readonly AdaptedWeight[], scale: number): Tensor[] {
  const adapted = matrices.flatMap(({ factors }) => factors ?? []);
  if (adapted.length < matrices.length)
    return matrices.map((m) => (m.factors ? adaptedLinear(x, [m], scale)[0]! : matmul(x, m.weight, { transB: true })));
  const factors = adapted.flatMap(({ a, b }) => [a, b]);
  return [
    ...customGradient([x, ...factors], () => {
      const merged = matrices.map(({ weight }, i) => addMatmul(weight, adapted[i]!.b, adapted[i]!.a, { alpha: scale }));
      return {
        outputs: merged.map((w) => matmul(x, w, { transB: true })),
        saved: merged,
        gradient: ({ dys, inputs: [x, ...factors], saved }) => adaptedGradient(x!, factors, saved, dys, scale),
      };
    }),
  ];
}

function adaptedGradient(
  x: Tensor,
  factors: readonly Tensor[],
  merged: readonly Tensor[],
  dys: readonly Tensor[],
  scale: number,
): Tensor[] {
  const as = factors.filter((_, i) => i % 2 === 0);
  const bs = factors.filter((_, i) => i % 2 === 1);
  const ranks = as.map((a) => a.dim(0));
  // [rows, Σ rank] on both sides: what each A makes of the input, and what reaches each A from its output.
  const inner = split(matmul(x, concat(as), { transB: true }), 1, ranks);
  const reaching = concat(
    dys.map((dy, i) => matmul(dy, bs[i]!)),
    1,
  );
  const das = split(matmul(reaching, x, { transA: true, alpha: scale }), 0, ranks);
  // (x·Aᵀ)ᵀ·dy, transposed afterwards: the small side decides the kernel's speed.
  const dbs = dys.map((dy, i) => transposeMatrix(matmul(inner[i]!, dy, { transA: true, alpha: scale })));
  const dx = dys.slice(1).reduce((sum, dy, i) => addMatmul(sum, dy, merged[i + 1]!), matmul(dys[0]!, merged[0]!));
  return [dx, ...das.flatMap((da, i) => [da, dbs[i]!])];
}
