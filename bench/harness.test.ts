import { expect, test } from "vitest";
import {
  type Bench,
  type Comparison,
  compare,
  formatTable,
  median,
  nearest,
  type Player,
  type Round,
  roundsOf,
} from "./harness.ts";

const bench: Bench = {
  name: "step",
  summary: "a step",
  unit: "s/step",
  measure: "seconds",
  ours: { name: "tenet", command: "node", args: [] },
  peers: [],
};

/** A player whose rounds take the given seconds in turn, and who writes down when it plays. */
function player(
  name: string,
  seconds: number[],
  diary: string[],
  more: Partial<Round> = {},
  ceilings = [100, 100],
): Player {
  let played = 0;
  let measured = 0;
  return {
    name,
    round: async () => {
      diary.push(name);
      return { seconds: seconds[played++]!, peak_rss: played * 1000, ...more };
    },
    ceiling: async () => {
      diary.push(`${name} ceiling`);
      return ceilings[measured++]!;
    },
  };
}

const settings = { rounds: 5, warmup: 2, machine: "a machine" };

test("ours begins anew, then it and theirs take turns, warm-up first, between two measurements of the ceiling", async () => {
  const diary: string[] = [];
  const seen: string[] = [];
  const rounds = Array(7).fill(1);
  const ours = { ...player("tenet", rounds, diary), reset: async () => void diary.push("tenet begins anew") };
  await compare(bench, ours, player("peer", rounds, diary), {
    ...settings,
    onRound: ({ name }, _, counted) => seen.push(`${name} ${counted}`),
  });
  const turns = Array.from({ length: 7 }, () => ["tenet", "peer"]).flat();
  const ceilings = ["tenet ceiling", "peer ceiling"];
  expect(diary).toEqual(["tenet begins anew", ...ceilings, ...turns, ...ceilings]);
  expect(seen).toEqual(turns.map((name, index) => `${name} ${index >= 4}`));
});

test("the ratio is the median of paired ratios, warm-up not counted; above 1 we are faster", async () => {
  const ours = player("tenet", [100, 100, 1, 2, 1, 4, 2], []);
  const theirs = player("peer", [1, 1, 3, 4, 1, 2, 10], []);
  const { comparison } = await compare(bench, ours, theirs, settings);
  // pairs: 3, 2, 1, 0.5, 5; the quotient of the medians (3 / 2) would be another number
  expect(comparison).toMatchObject({ ours: 2, theirs: 3, ratio: 2, ratio_min: 0.5, ratio_max: 5, rounds: 5 });
});

test("five rounds at least behind two of warm-up, or what a bench of long rounds says", async () => {
  const long: Bench = { ...bench, rounds: { fewest: 1, warmup: 0 } };
  expect(roundsOf(bench)).toEqual({ rounds: 5, warmup: 2 });
  expect(roundsOf(bench, "9")).toEqual({ rounds: 9, warmup: 2 });
  expect(roundsOf(long)).toEqual({ rounds: 1, warmup: 0 });
  expect(roundsOf(long, "2")).toEqual({ rounds: 2, warmup: 0 });
  expect(() => roundsOf(bench, "4")).toThrow('--rounds of step takes a whole number of at least 5, got "4"');
  expect(() => roundsOf(long, "0")).toThrow("at least 1");
  expect(() => roundsOf(long, "1.5")).toThrow("whole number");
  const diary: string[] = [];
  const players = [player("tenet", [2], diary), player("peer", [6], diary)] as const;
  const { comparison } = await compare(long, ...players, { ...roundsOf(long), machine: "a machine" });
  expect(comparison).toMatchObject({ ratio: 3, ratio_min: 3, ratio_max: 3, rounds: 1 });
  expect(diary.filter((name) => !name.endsWith("ceiling"))).toEqual(["tenet", "peer"]);
});

test("a bench of rates compares work per second", async () => {
  const rate: Bench = { ...bench, measure: "rate", unit: "tokens/s" };
  const rounds = Array(7).fill(2);
  const ours = player("tenet", rounds, [], { work: 600 });
  const theirs = player("peer", Array(7).fill(6), [], { work: 600 });
  expect((await compare(rate, ours, theirs, settings)).comparison).toMatchObject({ ours: 300, theirs: 100, ratio: 3 });
  await expect(compare(rate, player("tenet", rounds, []), theirs, settings)).rejects.toThrow("reported no work");
});

test.each(["work", "prompt_tokens"])("contestants whose %s differs are not compared", async (key) => {
  const rounds = Array(7).fill(2);
  const ours = player("tenet", rounds, [], { [key]: 600 });
  await expect(compare(bench, ours, player("peer", rounds, [], { [key]: 599 }), settings)).rejects.toThrow(
    /ours did 600 .*the peer 599/,
  );
});

test("what contestants note is shown, by its median", async () => {
  const ours = player("tenet", Array(7).fill(1), [], { notes: { accepted: 0.75 } });
  const outcome = await compare(bench, ours, player("peer", Array(7).fill(1), []), settings);
  expect(outcome.comparison.notes).toEqual({ ours: { accepted: 0.75 }, theirs: {} });
  expect(formatTable(bench, [outcome])).toContain("tenet, accepted: 0.750");
});

test("the ceiling's share is our FLOP/s over the better of our own two measurements", async () => {
  const rounds = Array(7).fill(2);
  const ours = player("tenet", rounds, [], { flops: 150e9 }, [80, 100]);
  const theirs = player("peer", rounds, [], { flops: 1 }, [300, 200]);
  const outcome = await compare(bench, ours, theirs, settings);
  expect(outcome).toMatchObject({ ceilingOurs: 100, ceilingTheirs: 300 });
  expect(outcome.comparison.ceiling_share).toBeCloseTo(0.75);
  const uncounted = await compare(bench, player("tenet", rounds, []), player("peer", rounds, []), settings);
  expect(uncounted.comparison.ceiling_share).toBeNull();
});

test("a line of --json has exactly the documented keys, and the highest peaks", async () => {
  const rounds = Array(7).fill(1);
  const { comparison } = await compare(bench, player("tenet", rounds, []), player("peer", rounds, []), settings);
  expect(JSON.parse(JSON.stringify(comparison))).toEqual({
    bench: "step",
    peer: "peer",
    unit: "s/step",
    ours: 1,
    theirs: 1,
    ratio: 1,
    ratio_min: 1,
    ratio_max: 1,
    rounds: 5,
    ceiling_share: null,
    peak_rss_ours: 7000,
    peak_rss_theirs: 7000,
    machine: "a machine",
  } satisfies Comparison);
});

test("the table names the peer, the figures and the machine", async () => {
  const ours = player("tenet", Array(7).fill(2), [], { flops: 100e9, peak_rss: 2.5e9 });
  const outcome = await compare(bench, ours, player("peer", Array(7).fill(3), []), settings);
  const table = formatTable(bench, [outcome]);
  expect(table).toMatch(/^peer +2\.000 +3\.000 +1\.50 +1\.50 … 1\.50 +2\.50 GB/m);
  expect(table).toContain("100 GFLOP/s ours; we reach 50 % of it, 100 theirs");
  expect(table).toContain("a machine");
});

test("median", () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([10, 1, 2, 4])).toBe(3);
  expect(() => median([])).toThrow("no values");
});

test.each([
  ["trainstep", "train-step"],
  ["decod-1", "decode-1"],
  ["gem", "gemm"],
])("nearest to %s is %s", (name, expected) => {
  expect(nearest(name, ["gemm", "decode", "decode-1", "train-step"])).toBe(expected);
});

test("peers that learn the same must begin with the same loss", async () => {
  const lossy = (name: string, ...losses: (number | undefined)[]) => {
    let played = 0;
    const one = player(name, Array(7).fill(1), []);
    return {
      ...one,
      round: async () => {
        const loss = losses[Math.min(played++, losses.length - 1)];
        return { ...(await one.round()), ...(loss === undefined ? {} : { loss }) };
      },
    };
  };
  const held = { ...settings, sameLoss: 1e-3 };
  // Later losses are behind updates, each runtime's own.
  const near = await compare(bench, lossy("tenet", 10.8, 10.5), lossy("peer", 10.8009, 10.2), held);
  expect(near.comparison.losses).toEqual({ ours: 10.8, theirs: 10.8009 });
  await expect(compare(bench, lossy("tenet", 10.8), lossy("peer", 10.802), held)).rejects.toThrow(
    "our first loss is 10.8, the peer's 10.802; expected 0.001 between them at most",
  );
  await expect(compare(bench, lossy("tenet", undefined), lossy("peer", 10.8), held)).rejects.toThrow("first loss");
  expect((await compare(bench, lossy("tenet", 1), lossy("peer", 2), settings)).comparison.losses).toEqual({
    ours: 1,
    theirs: 2,
  });
});

test("a comparison beside other work says so", async () => {
  const players = [player("tenet", Array(7).fill(1), []), player("peer", Array(7).fill(1), [])] as const;
  const outcome = await compare(bench, ...players, { ...settings, busy: 0.37, others: () => 0.2 });
  expect(outcome.comparison.busy).toBe(0.37);
  const later = await compare(bench, ...players, { ...settings, others: () => 0.5 });
  expect(later.comparison.busy).toBe(0.5);
  const alone = await compare(bench, ...players, { ...settings, others: () => undefined });
  expect(alone.comparison).not.toHaveProperty("busy");
  expect(formatTable(bench, [outcome])).toContain("others kept 37 % of the processors busy");
  const memory = { ...outcome, comparison: { ...outcome.comparison, gpu_memory: { ours: 2e9, theirs: 3e9 } } };
  expect(formatTable(bench, [memory])).toContain(
    "memory of the graphics processor beside peer: 2.00 GB ours, 3.00 GB theirs",
  );
});
