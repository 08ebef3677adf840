import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { randomStream } from "@tenet/data";
import { openStore } from "@tenet/runs";
import { afterAll, expect, test } from "vitest";
import { reinforcedRecipe, writeRecipe } from "../../test/pipeline/fixture.ts";
import { type Line, RunProcess } from "../../test/pipeline/process.ts";
import { reading, results, runWhole } from "../../test/pipeline/run.ts";
import type { Scorecard } from "../evaluate/index.ts";

/** How many processes are killed: a few by default, as each costs seconds. With TENET_TEST_KILLS=20 they are what is promised. */
const kills = Number(process.env.TENET_TEST_KILLS ?? 3);
const seed = Number(process.env.TENET_TEST_KILL_SEED ?? 0);

const folder = await mkdtemp(join(tmpdir(), "tenet-kill-"));
afterAll(() => rm(folder, { recursive: true }));

/** Names what a line says, in a killed run as in one that continues. */
function keyOf(line: Line): string {
  if (line.type === "metrics") return `${line.stage}, step ${line.step}`;
  if (line.type !== "stage") return line.type;
  return `${line.stage}, ${line.status === "started" || line.status === "continued" ? "begun" : "done"}`;
}

/** All that the scorecard says but what the run took, which is more where something was computed twice. */
function scorecardOf(store: string, id: string): unknown {
  return reading(store, (reader) => {
    const { costs: _, labelling: __, ...card } = reader.stage(id, "scorecard")!.output as Scorecard;
    return card;
  });
}

interface Moment {
  readonly behind: string;
  readonly milliseconds: number;
}

/** Moments of an undisturbed run, uniform in its time: which line was the last before, and how long before. */
async function momentsOf(recipe: string, store: string): Promise<(share: number) => Moment> {
  const whole = new RunProcess(recipe, store);
  await whole.ended();
  expect(whole.lines.at(-1)).toMatchObject({ type: "run", status: "done" });
  const [start, end] = [whole.times[0]!, whole.times.at(-1)!];
  const keys = whole.lines.map(keyOf);
  return (share) => {
    const time = start + share * (end - start);
    const last = whole.times.findLastIndex((came) => came <= time);
    return { behind: keys[last]!, milliseconds: time - whole.times[last]! };
  };
}

/** Under a bound, in rounds, in one loop, in reverse: each arrangement is the same stages, and goes on in whichever it was killed. */
const arrangements = {
  constrained: reinforcedRecipe.replace(
    "  algorithm: ppo\n",
    `$&  constraint: { bound: 0.3, multiplier: { window: 6 } }
  imitate: { weight: 0.1, batchSize: 2 }
`,
  ),
  iterative: `${reinforcedRecipe}arrangement:
  rounds: 2
  share: { supervised: 0.5, policy: 0.5 }
  preferenceModel: continue
  schedule: { policy.iterations: [3, 2] }
`,
  joint: reinforcedRecipe
    .replace("label: {", "weigh: { by: checks, reweight: 1 }\n  $&")
    .replace("constitution: 0.5", "$&, shape: sigmoid")
    .replace("  algorithm: ppo\n", "$&  imitate: { weight: 0.1, batchSize: 2 }\n")
    .concat("arrangement: joint\n"),
  reverse: `${reinforcedRecipe}arrangement: reverse\n`,
};

test.each(Object.entries(arrangements))(
  `%s, kill -9 at ${kills} random moments: every resume ends as the undisturbed run does`,
  async (name, text) => {
    const recipe = await writeRecipe(join(folder, name, "recipe"), { recipe: text });
    const undisturbed = join(folder, name, "undisturbed");
    const { id } = await runWhole(recipe, undisturbed);
    const expected = results(undisturbed, id);
    const card = scorecardOf(undisturbed, id);
    const moment = await momentsOf(recipe, join(folder, name, "timed"));

    const { uniform } = randomStream({ seed, stage: "kill", item: "moment" });
    const hit: string[] = [];
    let draws = 0;
    for (let round = 0; hit.length < kills; round++) {
      const store = join(folder, name, `store ${round}`);
      // Twice in a run, the second time while it continues, at a later moment.
      const shares = [uniform(draws++), uniform(draws++)].sort((a, b) => a - b);
      for (const share of shares.slice(0, kills - hit.length)) {
        const { behind, milliseconds } = moment(share);
        const child = new RunProcess(recipe, store);
        if (await child.printed((line) => keyOf(line) === behind)) await sleep(milliseconds);
        const { type } = child.lines.at(-1)!;
        expect(type).not.toBe("error");
        if (await child.kill()) hit.push(`${behind} + ${milliseconds.toFixed(0)} ms`);
        const reader = openStore(store, { readOnly: true });
        expect(await reader.verify()).toEqual([]);
        reader.close();
      }
      await runWhole(recipe, store);
      expect(results(store, id), hit.slice(-2).join("; then ")).toEqual(expected);
      expect(scorecardOf(store, id), hit.slice(-2).join("; then ")).toEqual(card);
      const writer = openStore(store);
      expect(await writer.verify()).toEqual([]);
      writer.close();
      await rm(store, { recursive: true });
    }
    if (process.env.TENET_TEST_KILLS) console.log(`killed behind:\n${hit.join("\n")}`);
    expect(hit).toHaveLength(kills);
  },
  60_000 + 90_000 * kills,
);
