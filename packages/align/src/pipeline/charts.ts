import type { Metric } from "@tenet/runs";
import { cutOffShare } from "@tenet/train";
import type { Scorecard } from "../evaluate/index.ts";

type Chart = Scorecard["charts"][number];

/** Figures of a stage: by metric, then by step. */
type Figures = ReadonlyMap<string, ReadonlyMap<number, number>>;

/** Curves that the scorecard shows of what training stages reported; those whose figures are there. */
interface Wanted extends Omit<Chart, "series" | "stage"> {
  /** Label and metric of each series; of a scatter, the metric along x before the one along y. */
  readonly series:
    | readonly (readonly [label: string, metric: string, across?: string])[]
    | ((figures: Figures) => readonly (readonly [label: string, metric: string])[]);
}

/** What the reward is made of, as numbers of its own kind: how long a reply is, and whether it ended, are charts of their own. */
const formParts = ["reward/length", "reward/missing_end"];

const wanted: readonly Wanted[] = [
  {
    title: "Loss",
    kind: "line",
    x: "step",
    y: "cross-entropy, nats per token or pair",
    series: [
      ["training", "loss"],
      ["held out", "eval_loss"],
    ],
  },
  {
    title: "Accuracy of the preference model",
    kind: "line",
    x: "step",
    y: "share of each training batch's pairs; not what it is worth",
    series: [["training batches", "accuracy"]],
  },
  {
    title: "Reward and its parts",
    kind: "line",
    x: "iteration",
    y: "mean per reply, parts before they are weighted",
    series: (figures) => [
      ["sum", "objective/scores"],
      ...[...figures.keys()]
        .filter((name) => name.startsWith("reward/") && !formParts.includes(name))
        .map((name): [string, string] => [name.slice("reward/".length), name]),
    ],
  },
  {
    title: "Gap between the parts",
    kind: "line",
    x: "iteration",
    y: "preference score − constitutional reward: a rising gap is where a proxy is exploited",
    series: [["gap", "gap"]],
  },
  {
    title: "Distance from the reference",
    kind: "line",
    x: "iteration",
    y: "KL per reply, nats",
    series: [["KL", "objective/kl"]],
  },
  {
    title: "What replies cost",
    kind: "line",
    x: "iteration",
    y: "mean cost of the latest replies less the bound: above 0 it is broken",
    series: [["above the bound", "constraint/violation"]],
  },
  {
    title: "Multiplier",
    kind: "line",
    x: "iteration",
    y: "λ, what cost counts against reward",
    series: [["λ", "constraint/lambda"]],
  },
  {
    title: "Gradients together",
    kind: "line",
    x: "iteration",
    y: "cosine between the algorithm's gradient and that of what is imitated and avoided: below 0 they pull apart",
    series: [["cosine", "policy/gradient_cosine"]],
  },
  {
    title: "Length",
    kind: "line",
    x: "iteration",
    y: "tokens per reply",
    series: [["length", "val/response_length"]],
  },
  {
    title: "Cut off",
    kind: "line",
    x: "iteration",
    y: "share of replies that reached the limit of tokens",
    series: [["cut off", "cut-off"]],
  },
  {
    title: "Explained variance",
    kind: "line",
    x: "iteration",
    y: "of returns by the value network: 1 perfect, 0 a constant, below 0 worse than one",
    series: [["value network", "val/explained_variance"]],
  },
  {
    title: "Entropy",
    kind: "line",
    x: "iteration",
    y: "nats per token",
    series: [["entropy", "policy/entropy_avg"]],
  },
  {
    title: "Reward against KL",
    kind: "scatter",
    x: "KL per reply, nats",
    y: "mean reward",
    series: [["iteration", "objective/scores", "objective/kl"]],
  },
];

/** The charts of a run's metrics. */
export function chartsOf(metrics: readonly Metric[]): Chart[] {
  const stages = [...new Set(metrics.map(({ stage }) => stage))];
  return stages.flatMap((stage) => {
    const figures = figuresOf(metrics.filter((one) => one.stage === stage));
    return wanted.flatMap(({ series, ...chart }) => {
      const named = typeof series === "function" ? series(figures) : series;
      const drawn = named.flatMap(([label, metric, across]) => {
        const along = across === undefined ? undefined : figures.get(across);
        const points = [...(figures.get(metric) ?? [])].flatMap(([step, y]): [number, number][] => {
          const x = across === undefined ? step : along?.get(step);
          return x === undefined ? [] : [[x, y]];
        });
        return points.length > 1 ? [{ label, points }] : [];
      });
      return drawn.length > 0 ? [{ ...chart, stage, series: drawn }] : [];
    });
  });
}

/** Figures that are numbers, and what is made of several of them. */
function figuresOf(metrics: readonly Metric[]): Figures {
  const figures = new Map<string, Map<number, number>>();
  const set = (name: string, step: number, value: number | undefined) => {
    if (value === undefined || !Number.isFinite(value)) return;
    const values = figures.get(name) ?? new Map<number, number>();
    figures.set(name, values.set(step, value));
  };
  for (const { name, step, value } of metrics) set(name, step, value);
  for (const [step, proxy] of figures.get("reward/preference") ?? []) {
    const constitution = figures.get("reward/constitution")?.get(step);
    if (constitution !== undefined) set("gap", step, proxy - constitution);
  }
  for (const [step, ended] of figures.get("val/num_eos_tokens") ?? []) {
    const episode = figures.get("episode")?.get(step);
    if (episode !== undefined) set("cut-off", step, cutOffShare({ "val/num_eos_tokens": ended, episode }, step));
  }
  return figures;
}
