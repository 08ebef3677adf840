import type { Metric } from "@tenet/runs";
import { expect, it } from "vitest";
import { chartsOf } from "./charts.ts";

function metrics(stage: string, values: Readonly<Record<string, readonly number[]>>): Metric[] {
  return Object.entries(values).flatMap(([name, list]) =>
    list.map((value, i): Metric => ({ stage, name, step: i + 1, value })),
  );
}

const policy = metrics("policy", {
  "objective/scores": [0.9, 1.1, 1.37],
  "reward/preference": [0.01, 0.3, 0.63],
  "reward/constitution": [0.89, 0.8, 0.74],
  "reward/length": [52, 45, 40],
  "reward/missing_end": [0, 0.1, 0.2],
  "val/num_eos_tokens": [24, 22, 18],
  episode: [24, 48, 72],
  "val/explained_variance": [-5.4, Number.NaN, -3.4],
});

it("draws the reward's parts in one plot, each as a series, and the gap between them in another", () => {
  const charts = chartsOf(policy);
  const parts = charts.find(({ title }) => title === "Reward and its parts")!;
  expect(parts.series.map(({ label }) => label)).toEqual(["sum", "preference", "constitution"]);
  expect(parts.series[1]!.points).toEqual([
    [1, 0.01],
    [2, 0.3],
    [3, 0.63],
  ]);
  const gap = charts.find(({ title }) => title === "Gap between the parts")!.series[0]!.points;
  expect(gap.map(([, y]) => Number(y.toFixed(2)))).toEqual([-0.88, -0.5, -0.11]);
});

it("draws the share of replies cut off, and leaves out what is no number", () => {
  const of = (title: string) => chartsOf(policy).find((chart) => chart.title === title)!.series[0]!.points;
  expect(of("Cut off").map(([, y]) => Number(y.toFixed(3)))).toEqual([0, 0.083, 0.25]);
  expect(of("Explained variance")).toEqual([
    [1, -5.4],
    [3, -3.4],
  ]);
  expect(chartsOf(metrics("supervised", { loss: [1] }))).toEqual([]);
});
