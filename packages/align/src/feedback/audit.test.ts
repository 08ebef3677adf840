import { type PreferenceRow, randomStream } from "@tenet/data";
import { expect, it } from "vitest";
import { auditLabels } from "./audit.ts";

function row(question: number, a: string, b: string, p: number): PreferenceRow {
  const prompt = [{ role: "user" as const, content: `Question ${question}` }];
  return { id: `${question} ${a}`, prompt, a, b, p, weight: 1, label: "ai", explanation: [], origin: { parents: [] } };
}

/** Labels that give the known reply these probabilities, every other one of the pair in the other order. */
function audited(stated: readonly number[]) {
  const known = stated.map((_, i) => row(i, "right", "wrong", 1));
  const labels = stated.map((p, i) => (i % 2 === 0 ? row(i, "right", "wrong", p) : row(i, "wrong", "right", 1 - p)));
  return auditLabels(known, labels, { seed: 1 });
}

it("says how far the stated probabilities can be trusted", () => {
  // By hand: labels in the other order state 1 − p of what is wrong, and each stands in a bin of its own.
  const { calibration } = audited([0.95, 0.75, 0.45, 0.85]);
  expect(calibration.ece).toBeCloseTo((0.05 + 0.25 + 0.55 + 0.15) / 4, 12);
  expect(calibration.brier).toMatchObject({ n: 4, value: expect.closeTo((0.0025 + 0.0625 + 0.3025 + 0.0225) / 4, 12) });
  const [low, high] = calibration.brier.interval;
  expect(low).toBeLessThan(calibration.brier.value);
  expect(high).toBeGreaterThan(calibration.brier.value);
});

it("says nothing of probabilities that nobody stated", () => {
  const { calibration, gate } = auditLabels([row(1, "right", "wrong", 1)], [], { seed: 1 });
  expect(calibration).toMatchObject({ ece: Number.NaN, brier: { value: Number.NaN, n: 0 }, bins: [] });
  expect(gate.passed).toBe(false);
});

it("says how many readings are of sampled letters", () => {
  const letters = { A: 2, B: 1, tie: 0, unread: 0 };
  const readings = [
    { step: "reading", principle: "kind", first: "a", logprobs: [-0.1, -2], p: 0.87 },
    { step: "reading", principle: "kind", first: "b", letters, p: 0.33 },
  ];
  const label = { ...row(1, "right", "wrong", 0.6), explanation: readings };
  const audit = auditLabels([row(1, "right", "wrong", 1)], [label], { seed: 1 });
  expect(audit.sampledLetters).toMatchObject({ value: 0.5, n: 2 });
  expect(audit.swapConsistency.n).toBe(1);
});

it("ranks planted flips by the labels' probabilities, which is more than how often labels are right", () => {
  const [sure, unsure] = [0.9, 0.6];
  // Always right: every exchanged answer is contradicted, and no other.
  expect(audited(Array<number>(40).fill(sure)).flips).toMatchObject({ planted: 4, ranked: { value: 1, n: 40 } });
  // Always ½: nothing is told apart.
  expect(audited(Array<number>(40).fill(0.5)).flips.ranked.value).toBe(0.5);
  // Three of four right in both; one says where it is unsure.
  const wrong = (p: number) => Array.from({ length: 400 }, (_, i) => (i % 4 === 0 ? 1 - p : sure));
  const [constant, honest] = [audited(wrong(sure)), audited(wrong(unsure))];
  expect(honest.accuracy.value).toBe(constant.accuracy.value);
  expect(honest.flips.ranked.value).toBeGreaterThan(constant.flips.ranked.value + 0.05);
  const { value, interval } = honest.flips.ranked;
  expect(interval[0]).toBeLessThan(value);
  expect(interval[1]).toBeGreaterThan(value);
});

it("ranks nothing where nothing was exchanged", () => {
  expect(audited([0.9]).flips).toMatchObject({ planted: 0, ranked: { n: 0, value: Number.NaN } });
});

it("judges what the labeller said, and not what checks decided before it or added to it", () => {
  const known = Array.from({ length: 30 }, (_, i) => row(i, "right", "wrong", 1));
  // A labeller that is always wrong, checks that are always right: alone for the first ten, weighed against it for the others.
  const labels = known.map((one, i): PreferenceRow => {
    if (i < 10) return { ...one, p: 1, label: "check", explanation: [{ step: "label", p: 1, downWeight: 1 }] };
    return { ...one, p: 0.6, explanation: [{ step: "label", p: 0.6, asked: 0.1, downWeight: 0.5 }] };
  });
  const audit = auditLabels(known, labels, { seed: 1 });
  expect(audit).toMatchObject({ labelled: 20, settled: 10, unlabelled: 0, accuracy: { value: 0, n: 20 } });
  expect(audit.gate.passed).toBe(false);
  // Where the checks are who labels, it is they who are judged.
  const byChecks = known.map(
    (one): PreferenceRow => ({ ...one, p: 1, label: "check", explanation: [{ step: "checks" }] }),
  );
  expect(auditLabels(known, byChecks, { seed: 1 })).toMatchObject({ labelled: 30, settled: 0, gate: { passed: true } });
  const settled = auditLabels(known.slice(0, 10), labels.slice(0, 10), { seed: 1 });
  expect(settled.gate).toMatchObject({
    passed: false,
    reasons: [expect.stringContaining("checks settled all 10 pairs")],
  });
});

it("takes pairs of one prompt for no independent ones: a labeller at chance does not pass by having each asked six times", () => {
  const passes = (copies: number) => {
    let passed = 0;
    for (let trial = 0; trial < 60; trial++) {
      const { uniform } = randomStream({ seed: trial, stage: "test", item: "audit" });
      const known: PreferenceRow[] = [];
      const labels: PreferenceRow[] = [];
      for (let question = 0; question < 12; question++) {
        // What it says of a prompt's replies is one guess.
        const p = uniform(question) < 0.5 ? 0.9 : 0.1;
        for (let copy = 0; copy < copies; copy++) {
          known.push(row(question, `right ${copy}`, "wrong", 1));
          labels.push(row(question, `right ${copy}`, "wrong", p));
        }
      }
      if (auditLabels(known, labels, { seed: 1, flips: 0 }).gate.passed) passed++;
    }
    return passed;
  };
  expect(passes(6)).toBe(passes(1));
  expect(passes(6)).toBeLessThan(6);
});
