import { openWildServers, type WildServer, wildServers } from "@tenet/fixtures";
import { endpoint } from "@tenet/lm";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseConstitution } from "../constitution/index.ts";
import { type Comparison, choiceJudge, comparePairs } from "../evaluate/index.ts";
import { labelPairs, readingsOf } from "../feedback/index.ts";

let servers: Awaited<ReturnType<typeof openWildServers>>;
beforeAll(async () => {
  servers = await openWildServers();
});
afterAll(() => servers.close());

const constitution = parseConstitution(
  "name: kind\nversion: '1'\nprinciples:\n  - id: kind\n    text: Answers are kind.\n",
  { file: "kind.yaml" },
).value;
const prompt = [{ role: "user" as const, content: "I have a cold." }];
const pair = { id: "1", prompt, a: "Rest. This is kind.", b: "Go away.", origin: { parents: [] } };
const open = (server: WildServer) =>
  endpoint({ baseUrl: servers.url(server), retries: { baseSeconds: 0.001, perRequest: 2 } });

describe("labels of servers as they are met: by log-probabilities, or by sampled letters and said so", () => {
  it.each(wildServers)("$name", async (server) => {
    const labeller = open(server);
    const notices: string[] = [];
    for await (const { rows, aside } of labelPairs(
      [pair],
      { constitution, labeller, seed: 1 },
      { notice: (line) => notices.push(line) },
    )) {
      expect(aside).toBeUndefined();
      const readings = readingsOf(rows[0]!.explanation);
      expect(readings).toHaveLength(2);
      for (const { p, logprobs, letters } of readings)
        if (server.logprobs) {
          expect(p).toBeCloseTo(1 / (1 + Math.exp(-1.5)), 9);
          expect(logprobs).toBeDefined();
        } else {
          expect(p).toBe(1);
          expect(letters).toMatchObject({ tie: 0, unread: 0 });
        }
    }
    expect(notices.some((line) => line.includes("sampled answers, which is coarser"))).toBe(!server.logprobs);
    await labeller.close();
  });
});

describe("a judge there", () => {
  it.each(wildServers.filter(({ name }) => name.includes("says") || name.includes("thoughts")))(
    "$name",
    async (server) => {
      const model = open(server);
      const found: Comparison[] = [];
      for await (const { rows } of comparePairs([pair], { judge: choiceJudge(model), a: "rl", b: "base" }))
        found.push(...rows);
      expect(found.map(({ winner }) => winner)).toEqual(["a"]);
      await model.close();
    },
  );
});
