// npx tsx --conditions=source scripts/principles.ts [--pairs 3000] [--epochs 5] [--seeds 1,2,3]
//
// Whether a preference model reads the principles that it is shown: two planted principles, each as it is or as its opposite, on a small
// random model, beside one that learns the same pairs without being shown any. docs/preference-model.md holds the figures.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type PreferenceResult, type PreferenceRow, randomStream, rowId, trainPreference } from "@tenet/align";
import { turned } from "@tenet/data";
import { writeTinyModel } from "@tenet/fixtures";
import { openLocalModel } from "@tenet/lm";

const { values: given } = parseArgs({
  options: {
    pairs: { type: "string", default: "3000" },
    epochs: { type: "string", default: "5" },
    seeds: { type: "string", default: "1,2,3" },
  },
});

const principles = [
  { id: "shout", says: "Shout.", otherwise: "Ask.", keeps: (reply: string) => reply.endsWith("!") },
  { id: "capital", says: "Capitals.", otherwise: "Small letters.", keeps: (reply: string) => /^[A-Z]/.test(reply) },
];
const replies = [..."abcdABCD"].flatMap((letter) => [`${letter}!`, `${letter}?`]);

/** Pairs that one principle tells apart, as it is or as its opposite; prompts of one stage are of no other. */
function pairs(
  count: number,
  { seed, stage, shown }: { seed: number; stage: string; shown: boolean },
): PreferenceRow[] {
  const rows: PreferenceRow[] = [];
  for (let i = 0; rows.length < count; i++) {
    const { uniform, integer } = randomStream({ seed, stage, item: i });
    const [a, b] = [replies[integer(0, replies.length)]!, replies[integer(1, replies.length)]!];
    const { id, says, otherwise, keeps } = principles[integer(2, principles.length)]!;
    if (keeps(a) === keeps(b)) continue;
    const negated = uniform(3) < 0.5;
    const prompt = [{ role: "user" as const, content: `${stage} ${integer(4, 1000)}` }];
    const p = keeps(a) === negated ? 0 : 1;
    const own = { principle: id, negated: false, says, otherwise };
    rows.push({
      ...{ id: rowId("planted", stage, i), origin: { parents: [] }, prompt, a, b, p, weight: 1, label: "ai" },
      explanation: [],
      ...(shown && { given: { decidedBy: id, principles: negated ? turned([own]) : [own] } }),
    });
  }
  return rows;
}

async function trained(seed: number, shown: boolean): Promise<PreferenceResult> {
  const run = trainPreference({
    ...{ model, seed, folder: join(folder, `${seed}-${shown}`) },
    rows: pairs(Number(given.pairs), { seed, stage: "Name", shown }),
    validation: pairs(300, { seed, stage: "Give", shown }),
    settings: {
      ...{ learningRate: 3e-3, epochs: Number(given.epochs), batchSize: 32, schedule: "linear", maxLength: 512 },
      lora: { rank: 16, alpha: 32 },
    },
  });
  for (let next = await run.next(); ; next = await run.next()) if (next.done) return next.value;
}

const folder = mkdtempSync(join(tmpdir(), "tenet-principles-"));
const model = await openLocalModel(await writeTinyModel(join(folder, "base")), { device: "cpu", cacheDir: folder });
const told = ({ value, interval: [low, high] }: { value: number; interval: readonly number[] }) =>
  `${value.toFixed(3)} (${low!.toFixed(3)} to ${high!.toFixed(3)})`;
console.log("| seed | principles shown | right on held-out pairs | flip test |\n|---|---|---|---|");
for (const seed of given.seeds.split(",").map(Number))
  for (const shown of [true, false]) {
    const { evaluation } = (await trained(seed, shown)).report;
    const { accuracy, given: found } = evaluation!;
    console.log(`| ${seed} | ${shown ? "yes" : "no"} | ${told(accuracy)} | ${found ? told(found.flip) : "–"} |`);
  }
await model.close();
rmSync(folder, { recursive: true });
