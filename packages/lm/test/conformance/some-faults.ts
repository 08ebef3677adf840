import { randomStream } from "@tenet/data";
import type { Fault } from "@tenet/fixtures";

/** Spoils a share of the calls, each kind alike; which ones depends on the seed only. */
export function someFaults(
  share: number,
  seed: number,
  kinds: Fault[] = allFaults,
): (call: number) => Fault | undefined {
  const stream = randomStream({ seed, stage: "faults", item: share });
  return (call) => (stream.uniform(2 * call) < share ? kinds[stream.integer(2 * call + 1, kinds.length)] : undefined);
}

export const allFaults: Fault[] = ["429", "429-date", "500", "503-html", "refused", "malformed", "cut", "slow"];
