import type { Metric } from "@tenet/runs";
import type { Scorecard } from "../evaluate/index.ts";

type Chart = Scorecard["charts"][number];

/** Curves that the scorecard shows of what training stages reported; those whose figures are there. */
interface Wanted extends Omit<Chart, "series" | "stage"> {
  /** Label and metric of each series; of a scatter, the metric along x before the one along y. */
  readonly series: readonly (readonly [label: string, metric: string, across?: string])[];
}

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
    y: "share of pairs",
    series: [["training", "accuracy"]],
  },
  { title: "Reward", kind: "line", x: "iteration", y: "mean per reply", series: [["score", "objective/scores"]] },
  {
    title: "Distance from the reference",
    kind: "line",
    x: "iteration",
    y: "KL per reply, nats",
    series: [["KL", "objective/kl"]],
  },
  {
    title: "Length",
    kind: "line",
    x: "iteration",
    y: "tokens per reply",
    series: [["length", "val/response_length"]],
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
    const figures = (name: string) =>
      new Map(
        metrics
          .filter((one) => one.stage === stage && one.name === name && Number.isFinite(one.value))
          .map(({ step, value }) => [step, value]),
      );
    return wanted.flatMap(({ series, ...chart }) => {
      const drawn = series.flatMap(([label, metric, across]) => {
        const along = across === undefined ? undefined : figures(across);
        const points = [...figures(metric)].flatMap(([step, y]): [number, number][] => {
          const x = along ? along.get(step) : step;
          return x === undefined ? [] : [[x, y]];
        });
        return points.length > 1 ? [{ label, points }] : [];
      });
      return drawn.length > 0 ? [{ ...chart, stage, series: drawn }] : [];
    });
  });
}
