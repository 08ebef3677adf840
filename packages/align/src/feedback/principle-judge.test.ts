import type { PairRow } from "@tenet/data";
import { scriptedModel } from "@tenet/lm";
import { expect, it } from "vitest";
import { parseConstitution } from "../constitution/index.ts";
import type { Orders } from "../evaluate/index.ts";
import { principleJudge } from "./principle-judge.ts";

const text = "{ name: desk, version: v1, principles: [{ id: doctor, text: Send people to a doctor. }] }";
const constitution = parseConstitution(text, { file: "desk.yaml" }).value;

it("compares replies by the labeller's question, in both orders", async () => {
  // Prefers a doctor by 2 nats, and whatever stands first by 1.
  const value = (option: string) => (option.includes("doctor") ? 2 : 0);
  const labeller = scriptedModel({ choice: { value, positionBias: 1 } });
  const pair = (id: string, a: string, b: string): PairRow => ({
    ...{ id, a, b, prompt: [{ role: "user", content: "I cough." }], origin: { parents: [] } },
  });
  const pairs = [
    pair("1", "See a doctor.", "Wait."),
    pair("2", "Wait.", "See a doctor."),
    pair("1", "See a doctor.", "Wait."),
  ];
  const found: (Orders | string)[] = [];
  for await (const answer of principleJudge({ labeller, constitution, seed: 7 }).compare(pairs))
    found[answer.pair] = "orders" in answer ? answer.orders : answer.refused;
  const sigma = (x: number) => 1 / (1 + Math.exp(-x));
  const expected = [
    [sigma(3), sigma(1)],
    [1 - sigma(1), 1 - sigma(3)],
    [sigma(3), sigma(1)],
  ];
  for (const [i, orders] of expected.entries())
    for (const [k, p] of orders.entries()) expect(found[i]![k], `${i}, ${k}`).toBeCloseTo(p, 6);
});

it("says why it does not take a pair", async () => {
  const labeller = scriptedModel({ choice: { value: () => 0 } });
  const same = {
    id: "1",
    prompt: [{ role: "user" as const, content: "Hi." }],
    a: "Yes.",
    b: "Yes.",
    origin: { parents: [] },
  };
  for await (const answer of principleJudge({ labeller, constitution, seed: 7 }).compare([same]))
    expect(answer).toEqual({ pair: 0, refused: "the responses are equal" });
});
