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
import { type LayerContext, plusBias } from "./layer.ts";
import { modulePath, type Projection, projectionShape, projections } from "./modules.ts";

export interface LoraConfig {
  /** Width r of the factors. */
  readonly rank: number;
  /** The product of the factors is scaled by alpha / rank. */
  readonly alpha: number;
  /** Matrices that are adapted; all seven of a layer when not given. */
  readonly targets?: readonly Projection[];
  /** Scale by alpha / √rank instead (rank-stabilised LoRA, arXiv 2312.03732). */
  readonly rslora?: boolean;
  /** Where ranks or alphas differ, or not every layer is adapted: the adapted matrices by their paths, in place of `targets`. */
  readonly modules?: Readonly<Record<string, Pick<LoraConfig, "rank" | "alpha">>>;
}

/** One adapted matrix of an adapter. */
export interface LoraModule extends Pick<LoraConfig, "rank" | "alpha"> {
  /** Factor of B·A. */
  readonly scale: number;
}

/** Factors of an adapted matrix, as graph tensors. */
export interface LoraFactors {
  /** [rank, in] */
  readonly a: Tensor;
  /** [out, rank] */
  readonly b: Tensor;
  readonly scale: number;
}

/** Factors of adapted matrices by module path. */
export interface Lora {
  readonly factors: Readonly<Record<string, LoraFactors>>;
}

/** Rank, alpha and scale of a matrix that the adapter changes. */
export function loraModule({ modules, rslora, ...all }: LoraConfig, path: string): LoraModule {
  const { rank, alpha } = modules?.[path] ?? all;
  return { rank, alpha, scale: alpha / (rslora ? Math.sqrt(rank) : rank) };
}

/** Every matrix that an adapter changes, by its path, in the order of layers. */
export function loraModules(config: ModelConfig, lora: LoraConfig): Map<string, LoraModule> {
  const { targets = projections, modules } = lora;
  const paths = Array.from({ length: config.num_hidden_layers }, (_, layer) => layer).flatMap((layer) =>
    targets.map((target) => modulePath(layer, target)),
  );
  return new Map((modules ? Object.keys(modules) : paths).map((path) => [path, loraModule(lora, path)]));
}

/** Shapes of an adapter's parameters, named as PEFT names them (without its prefix). */
export function loraShapes(config: ModelConfig, lora: LoraConfig): ParameterShapes {
  const shapes: Record<string, readonly number[]> = {};
  for (const [path, { rank }] of loraModules(config, lora)) {
    const [out, width] = projectionShape(config, path.slice(path.lastIndexOf(".") + 1) as Projection);
    shapes[`${path}.lora_A.weight`] = [rank, width];
    shapes[`${path}.lora_B.weight`] = [out, rank];
  }
  return shapes;
}

/** The adapter over parameters with those names. */
export function loraFrom(config: ModelConfig, lora: LoraConfig, tensors: Readonly<Record<string, Tensor>>): Lora {
  const pairs = [...loraModules(config, lora)].map(([path, { scale }]) => {
    const [a, b] = [tensors[`${path}.lora_A.weight`]!, tensors[`${path}.lora_B.weight`]!];
    return [path, { a, b, scale }] as const;
  });
  return { factors: Object.fromEntries(pairs) };
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
    return adaptedLinear(x, matrices).map((y, i) => plusBias(y, layer, names[i]!, { config, weight }));
  };
}

/** A matrix and, where it is adapted, its factors. */
export interface AdaptedWeight {
  /** [out, in] */
  readonly weight: Tensor;
  readonly factors?: LoraFactors | undefined;
}

/**
 * x · (W + s·B·A)ᵀ for several adapted matrices of one input, each with its scale s: x [rows, in] → [rows, out] each.
 *
 * The factors are multiplied into the matrix once a step, which costs in·out·r, where applying them to the activations
 * costs rows·(in + out)·r and two more passes over every result. The gradient never forms the full ∂L/∂W:
 * ∂A = s·(dy·B)ᵀ·x, ∂B = s·dyᵀ·(x·Aᵀ), with the A of all matrices in one product. W is frozen.
 * Source: LoRA (arXiv 2106.09685), eq. 3.
 */
export function adaptedLinear(x: Tensor, matrices: readonly AdaptedWeight[]): Tensor[] {
  const adapted = matrices.flatMap(({ factors }) => factors ?? []);
  if (adapted.length < matrices.length)
    return matrices.map((m) => (m.factors ? adaptedLinear(x, [m])[0]! : matmul(x, m.weight, { transB: true })));
  const factors = adapted.flatMap(({ a, b }) => [a, b]);
  const scales = adapted.map(({ scale }) => scale);
  return [
    ...customGradient([x, ...factors], () => {
      const merged = matrices.map(({ weight }, i) => {
        const { a, b, scale } = adapted[i]!;
        return addMatmul(weight, b, a, { alpha: scale });
      });
      return {
        outputs: merged.map((w) => matmul(x, w, { transB: true })),
        saved: merged,
        gradient: ({ dys, inputs: [x, ...factors], saved }) => adaptedGradient(x!, factors, saved, dys, scales),
      };
    }),
  ];
}

function adaptedGradient(
  x: Tensor,
  factors: readonly Tensor[],
  merged: readonly Tensor[],
  dys: readonly Tensor[],
  scales: readonly number[],
): Tensor[] {
  const { gradients } = factorGradients(x, factors, dys, scales);
  const dx = dys.slice(1).reduce((sum, dy, i) => addMatmul(sum, dy, merged[i + 1]!), matmul(dys[0]!, merged[0]!));
  return [dx, ...gradients];
}

/** Gradients of the factors, and of x through them. */
function factorGradients(
  x: Tensor,
  factors: readonly Tensor[],
  dys: readonly Tensor[],
  scales: readonly number[],
): { readonly gradients: Tensor[]; through(): Tensor } {
  const as = factors.filter((_, i) => i % 2 === 0);
  const bs = factors.filter((_, i) => i % 2 === 1);
  const ranks = as.map((a) => a.dim(0));
  const common = scales[0]!;
  // [rows, Σ rank] on both sides: what each A makes of the input, and what reaches each A from its output.
  const inner = split(matmul(x, concat(as), { transB: true }), 1, ranks);
  const reaching = concat(
    // One product for all A has one scale: by how much a matrix's own differs from it is taken in here.
    dys.map((dy, i) => matmul(dy, bs[i]!, { alpha: scales[i]! / common })),
    1,
  );
  const das = split(matmul(reaching, x, { transA: true, alpha: common }), 0, ranks);
  // (x·Aᵀ)ᵀ·dy, transposed afterwards: the small side decides the kernel's speed.
  const dbs = dys.map((dy, i) => transposeMatrix(matmul(inner[i]!, dy, { transA: true, alpha: scales[i]! })));
  return {
    gradients: das.flatMap((da, i) => [da, dbs[i]!]),
    through: () => matmul(reaching, concat(as), { alpha: common }),
  };
}

/**
 * Projections beside matrices that take in no factors: x · Wᵀ as `product` computes it, + s·(x·Aᵀ)·Bᵀ where a matrix is adapted.
 * @param product x [rows, in] times the transpose of the weight of that name, differentiable by x
 */
export function projectionBeside(
  config: ModelConfig,
  product: (x: Tensor, name: string) => Tensor,
  weight: (name: string) => Tensor,
  lora: Lora,
): LayerContext["project"] {
  return (x, layer, names) => {
    const paths = names.map((name) => modulePath(layer, name));
    const plain = names.map((name, i) => plusBias(product(x, `${paths[i]}.weight`), layer, name, { config, weight }));
    const adapted = paths.flatMap((path, i) => {
      const factors = lora.factors[path];
      return factors ? [{ i, y: plain[i]!, ...factors }] : [];
    });
    const changed = withFactors(x, adapted);
    adapted.forEach(({ i }, at) => {
      plain[i] = changed[at]!;
    });
    return plain;
  };
}

/** y + s·(x·Aᵀ)·Bᵀ for several adapted matrices of one input: x [rows, in], y [rows, out] → [rows, out] each. */
function withFactors(x: Tensor, adapted: readonly (LoraFactors & { readonly y: Tensor })[]): Tensor[] {
  if (adapted.length === 0) return [];
  const count = adapted.length;
  const scales = adapted.map(({ scale }) => scale);
  const inputs = [x, ...adapted.map(({ y }) => y), ...adapted.flatMap(({ a, b }) => [a, b])];
  return [
    ...customGradient(inputs, () => {
      const as = adapted.map(({ a }) => a);
      const inner = split(
        matmul(x, concat(as), { transB: true }),
        1,
        as.map((a) => a.dim(0)),
      );
      return {
        outputs: adapted.map(({ y, b, scale }, i) => addMatmul(y, inner[i]!, b, { transB: true, alpha: scale })),
        saved: [],
        gradient({ dys, inputs: [x, ...rest] }) {
          const { gradients, through } = factorGradients(x!, rest.slice(count), dys, scales);
          return [through(), ...dys, ...gradients];
        },
      };
    }),
  ];
}
