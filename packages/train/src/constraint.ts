import { z } from "zod";
import { deviation, sumOf } from "./numbers.ts";

/** What replies may cost on average while the reward is maximised: a bound, held by a Lagrange multiplier. METHODS §6. */
export const constraintSettingsSchema = z.strictObject({
  cost: z
    .enum(["checks", "critic", "model"])
    .default("checks")
    .describe(
      "What a response costs: 1 where a check finds it to violate, the probability that the critic gives to a violation, or the cost model's score (costModel), whose 0 is the boundary.",
    ),
  bound: z
    .number()
    .describe(
      "d, what responses may cost on average: of checks and critic the share of all responses that violate, of a cost model 0.",
    ),
  multiplier: z
    .strictObject({
      start: z.number().positive().default(1).describe("λ before the first iteration."),
      rate: z
        .number()
        .positive()
        .optional()
        .describe("η, how fast λ answers; when not given 0.1 for a cost model, whose scores are logits, else 1."),
      most: z.number().positive().default(5).describe("λ never exceeds it."),
      window: z.int().min(1).default(128).describe("Responses whose mean cost is compared with the bound: the latest."),
      delay: z.int().min(0).default(0).describe("Iterations in which λ stays what it was at the start."),
      every: z
        .enum(["iteration", "update"])
        .default("iteration")
        .describe(
          "When λ moves: before an iteration's updates, as the paper has it, or before every one, as Safe-RLHF's code.",
        ),
    })
    .refine(({ start, most }) => start <= most, { error: "expected start of at most most", path: ["start"] })
    .prefault({})
    .describe("The Lagrange multiplier λ."),
  value: z
    .strictObject({
      learningRate: z.number().positive().default(5e-5).describe("AdamW's learning rate."),
    })
    .prefault({})
    .describe("PPO's value network of the cost."),
});
export type ConstraintSettings = z.output<typeof constraintSettingsSchema>;

/** What a constraint remembers. A type, not an interface: checkpoints keep it as JSON. */
export type ConstraintState = { logMultiplier: number; window: number[] };

/**
 * A bound on the mean cost: maximise R subject to J_C ≤ d, as min over λ ≥ 0 of max over π of R − λ·(J_C − d).
 *
 * λ lives as its logarithm, by gradient ascent on λ·(J_C − d) in ln λ: ln λ ← min(ln λ_max, ln λ + η·(J̄_C − d)·λ), J̄_C the mean cost of the latest
 * replies. What is learnt from is (A − λ·A_C)/(1 + λ), whose size does not grow with λ.
 * Source: Safe RLHF (2310.12773), §3.3 and appendix B; the form in ln λ is its authors' code.
 */
export class Constraint {
  readonly settings: ConstraintSettings;
  /** What checkpoints keep, with this constraint's part under `constraint`. */
  readonly #kept: { constraint?: ConstraintState };

  constructor(settings: ConstraintSettings, kept: { constraint?: ConstraintState }) {
    this.settings = settings;
    this.#kept = kept;
    kept.constraint ??= { logMultiplier: Math.log(settings.multiplier.start), window: [] };
  }

  /** λ. */
  get multiplier(): number {
    return Math.exp(this.#state.logMultiplier);
  }

  /** Mean cost of the latest replies. Only behind `observe`. */
  get mean(): number {
    const { window } = this.#state;
    return sumOf(window, (cost) => cost) / window.length;
  }

  /** Takes the costs of an iteration's replies in. */
  observe(costs: readonly number[]): void {
    const state = this.#state;
    state.window = [...state.window, ...costs].slice(-this.settings.multiplier.window);
  }

  /** Moves λ, unless it is too early. @param iteration counted from 0 */
  move(iteration: number): void {
    const { bound, cost, multiplier } = this.settings;
    const { most, delay, rate = cost === "model" ? 0.1 : 1 } = multiplier;
    if (iteration < delay) return;
    const moved = this.#state.logMultiplier + rate * (this.mean - bound) * this.multiplier;
    this.#state.logMultiplier = Math.min(Math.log(most), moved);
  }

  /** (reward − λ·cost)/(1 + λ), of advantages or of rewards. */
  combine(reward: number, cost: number): number {
    const { multiplier } = this;
    return (reward - multiplier * cost) / (1 + multiplier);
  }

  /** What an iteration reports of it. */
  metrics(costs: readonly number[]): Record<string, number> {
    const { bound, multiplier } = this.settings;
    return {
      "objective/cost": sumOf(costs, (cost) => cost) / costs.length,
      "objective/cost_std": deviation(costs),
      "constraint/window": this.mean,
      "constraint/violation": this.mean - bound,
      "constraint/lambda": this.multiplier,
      "constraint/at_most": this.#state.logMultiplier >= Math.log(multiplier.most) ? 1 : 0,
    };
  }

  get #state(): ConstraintState {
    return this.#kept.constraint!;
  }
}
