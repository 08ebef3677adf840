import { setImmediate as breathe } from "node:timers/promises";
import { type ChainRow, inWords } from "@tenet/data";
import type { RunInfo, StageInfo } from "@tenet/runs";
import type { Chain, Chains } from "./api.ts";
import type { ViewContext } from "./context.ts";
import { annotationsByRow } from "./samples.ts";
import { brokenBy } from "./verdicts.ts";

const pageSize = 256;
const mostScanned = 2048;

export interface ChainFilter {
  readonly principle?: string | undefined;
  /** "rejected": a round's revision was not taken; "changed": one was; or the beginning of a reason. */
  readonly show?: string | undefined;
  readonly q?: string | undefined;
}

export async function chainsOf(
  context: ViewContext,
  run: RunInfo,
  stage: StageInfo,
  filter: ChainFilter,
  { after = -1, limit }: { after?: number | undefined; limit: number },
): Promise<Chains> {
  const { store, judge } = context;
  const opened = judge.opened(run);
  const said = annotationsByRow(store);
  const chains: Chain[] = [];
  let scanned = 0;
  let from: number | undefined = after;
  while (from !== undefined && scanned < mostScanned) {
    const page: ReturnType<typeof store.page<ChainRow>> = store.page<ChainRow>(stage.identity, {
      after: from,
      limit: pageSize,
      ...(filter.q !== undefined && filter.q !== "" && { text: filter.q }),
    });
    for (const { ordinal, row } of page.rows) {
      scanned++;
      if (!fits(row, filter)) continue;
      chains.push({ ...chainOf(row, ordinal), said: said.get(row.id) ?? [] });
      if (chains.length < limit) continue;
      const isLast = ordinal === page.rows.at(-1)?.ordinal && page.next === undefined;
      return { chains, scanned, ...(!isLast && { next: ordinal }) };
    }
    from = page.next;
    await breathe();
  }
  return { chains, scanned, ...(from !== undefined && { next: from }) };

  function chainOf({ id, prompt, category, responses, rounds }: ChainRow, ordinal: number): Omit<Chain, "said"> {
    const broken = responses.map((response, i) =>
      brokenBy(judge.results(opened, { key: `${id} ${i}`, prompt, response, category })),
    );
    return {
      ordinal,
      row: id,
      prompt: inWords(prompt),
      responses,
      rounds: rounds.map(({ principle, critique, revision, edits, rejected }) => ({
        principle,
        critique,
        ...(revision !== undefined && { revision }),
        ...(edits !== undefined && { edits }),
        ...(rejected !== undefined && { rejected }),
      })),
      ...(category !== undefined && { category }),
      ...(broken.every((one) => one !== undefined) && { broken }),
    };
  }
}

function fits({ rounds, responses }: ChainRow, { principle, show = "all" }: ChainFilter): boolean {
  if (principle !== undefined && !rounds.some((round) => round.principle === principle)) return false;
  if (show === "all") return true;
  if (show === "changed") return responses.length > 1;
  if (show === "unchanged") return responses.length === 1;
  return rounds.some(({ rejected }) => rejected !== undefined);
}
