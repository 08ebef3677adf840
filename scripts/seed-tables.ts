import { randomStream } from "@tenet/align";
import type { Evidence, Reply } from "./seeds.ts";

/*
 * Figures over seeds and prompts, with the intervals of a bootstrap over both.
 */

export interface Summary {
  readonly mean: number;
  readonly worst: number;
  readonly interval: readonly [number, number];
}

/** A value for each seed (of a processor) and prompt; what has none is left out. */
export type Table = ReadonlyMap<string, ReadonlyMap<string, number>>;

const draws = 4000;

/** Mean over seeds of the mean over prompts, the largest seed's, and a bootstrap over seeds and prompts (percentiles). */
export function summarise(table: Table): Summary {
  const seeds = [...table.values()];
  const prompts = [...new Set(seeds.flatMap((row) => [...row.keys()]))];
  const meanOf = (rows: readonly ReadonlyMap<string, number>[], drawn: readonly string[]) => {
    const means = rows.map((row) => {
      const values = drawn.flatMap((prompt) => row.get(prompt) ?? []);
      return values.length === 0 ? undefined : values.reduce((a, b) => a + b, 0) / values.length;
    });
    const known = means.flatMap((mean) => mean ?? []);
    return known.reduce((a, b) => a + b, 0) / known.length;
  };
  const imagined = Array.from({ length: draws }, (_, i) => {
    const { uniform } = randomStream({ seed: 0, stage: "evidence", item: "bootstrap", sample: i });
    let at = 0;
    const pick = <T>(from: readonly T[]) => from[Math.floor(uniform(at++) * from.length)]!;
    const rows = seeds.map(() => pick(seeds));
    return meanOf(
      rows,
      prompts.map(() => pick(prompts)),
    );
  })
    .filter(Number.isFinite)
    .sort((a, b) => a - b);
  const quantile = (q: number) => imagined[Math.round(q * (imagined.length - 1))]!;
  return {
    mean: meanOf(seeds, prompts),
    worst: Math.max(...seeds.map((row) => meanOf([row], prompts)).filter(Number.isFinite)),
    interval: [quantile(0.025), quantile(0.975)],
  };
}

/** Of replies to one prompt the mean. `of` says what a reply counts for; undefined leaves it out. */
export function tableOf(evidence: Evidence, id: string, of: (reply: Reply) => number | undefined): Table {
  return new Map(
    evidence.seeds.flatMap(({ seed, processor = evidence.processor, checkpoints, baselines = [] }) => {
      const checkpoint = [...checkpoints, ...baselines].find((one) => one.id === id);
      if (!checkpoint) return [];
      const values = checkpoint.replies.flatMap((reply): [string, number][] => {
        const value = of(reply);
        return value === undefined ? [] : [[reply.prompt, value]];
      });
      return [[`${seed} on ${processor}`, new Map(values)] as const];
    }),
  );
}

export const violates = ({ violates }: Reply) => (violates === null ? undefined : Number(violates));

export const breaks =
  (principle: string) =>
  ({ broken, kept }: Reply) =>
    broken.includes(principle) ? 1 : kept.includes(principle) ? 0 : undefined;

/** Where both have a value. */
export function differences(after: Table, before: Table): Table {
  return new Map(
    [...after].flatMap(([seed, row]) => {
      const old = before.get(seed);
      if (!old) return [];
      return [
        [
          seed,
          new Map(
            [...row].flatMap(([prompt, x]) => (old.has(prompt) ? [[prompt, x - old.get(prompt)!] as const] : [])),
          ),
        ] as const,
      ];
    }),
  );
}

export const percent = (x: number) => (100 * x).toFixed(1);

/** A row of a table: the mean with its interval, and the worst seed, in per cent. */
export function summaryLine(name: string, { mean, worst, interval: [low, high] }: Summary): string {
  return `| ${name} | ${percent(mean)} (${percent(low)} to ${percent(high)}) | ${percent(worst)} |`;
}
