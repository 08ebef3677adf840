// npx tsx --conditions=source bench/equal.ts DEVICE MODEL [COUNT]
//
// Whether replies are the same on a device as on the processor, and the same decoded step by step as by blocks of steps: greedy and drawn, with the
// log-probabilities of what was drawn. A line of JSON each: replies that are equal, the first token that is not, the largest difference of the
// log-probabilities before it, tokens a second and calls of the second time.
import { type LocalOptions, openLocalModel } from "@tenet/lm";
import type { DeviceName } from "@tenet/tensor";
import { decodeTask } from "./tasks.ts";

const [device, model, count = "16"] = process.argv.slice(2) as [DeviceName | undefined, string | undefined, string?];
if (device === undefined || model === undefined) {
  console.error("usage: bench/equal.ts DEVICE MODEL [COUNT]");
  process.exit(2);
}
process.env.TENET_BENCH_MODEL = model;
const { prompts, newTokens } = await decodeTask();

interface Told {
  readonly replies: readonly (readonly { readonly id: number; readonly logprob: number }[])[];
  readonly rate: number;
  /** Calls of the runtime, which tell blocks from single steps. */
  readonly calls: number;
}

/** Made-up weights are so flat that the nucleus alone is wider than what a block looks at: each token would be a single step's. */
const samplings = {
  greedy: { temperature: 0 },
  drawn: { temperature: 1 },
  filtered: { temperature: 1, topK: 50, topP: 0.9 },
  nucleus: { temperature: 1, topP: 0.9 },
};
type Name = keyof typeof samplings;

/** What a model says under each sampling. Where it is timed, once to make the graphs and once to measure. */
async function tell(options: LocalOptions, timed: boolean): Promise<Record<Name, Told>> {
  const opened = await openLocalModel(model!, options);
  const said: Partial<Record<Name, Told>> = {};
  for (const [name, sampling] of Object.entries(samplings)) {
    const requests = prompts.slice(0, Number(count)).map((prompt, i) => ({
      prompt,
      key: `${i}`,
      sampling: { maxTokens: newTokens, minTokens: newTokens, seed: 5, logprobs: 0, ...sampling },
    }));
    const replies: { id: number; logprob: number }[][] = [];
    let [rate, calls] = [0, 0];
    for (let time = timed ? 0 : 1; time < 2; time++) {
      const [began, before] = [performance.now(), opened.statistics().steps];
      for await (const { request, completion } of opened.generate(requests))
        replies[request] = completion.tokens!.map(({ id, logprob }) => ({ id: id!, logprob }));
      rate = replies.reduce((sum, { length }) => sum + length, 0) / ((performance.now() - began) / 1000);
      calls = opened.statistics().steps - before;
    }
    said[name as Name] = { replies, rate, calls };
  }
  await opened.close();
  return said as Record<Name, Told>;
}

function apart(a: Told, b: Told) {
  let [equal, furthest, tokens] = [0, 0, 0];
  let first: number | null = null;
  a.replies.forEach((reply, i) => {
    const other = b.replies[i]!;
    const at = reply.findIndex(({ id }, t) => other[t]?.id !== id);
    if (at < 0) equal++;
    else first = Math.min(first ?? at, at);
    reply.slice(0, at < 0 ? undefined : at).forEach(({ logprob }, t) => {
      furthest = Math.max(furthest, Math.abs(logprob - other[t]!.logprob));
      tokens++;
    });
  });
  return { equal, of: a.replies.length, first, tokens, logprobs: furthest };
}

const blocks = await tell({ device, stepsPerCall: 128 }, true);
const steps = await tell({ device, stepsPerCall: 1, drafts: false }, true);
const here = await tell({ device: "cpu", stepsPerCall: 1, drafts: false }, false);
for (const name of Object.keys(samplings) as Name[])
  console.log(
    JSON.stringify({
      sampling: name,
      blocksAndSteps: apart(blocks[name], steps[name]),
      deviceAndProcessor: apart(blocks[name], here[name]),
      tokensPerSecond: { blocks: Math.round(blocks[name].rate), steps: Math.round(steps[name].rate) },
      calls: { blocks: blocks[name].calls, steps: steps[name].calls },
    }),
  );
