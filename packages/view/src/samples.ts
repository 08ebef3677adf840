import { setImmediate as breathe } from "node:timers/promises";
import { detectRefusal, refuses } from "@tenet/align";
import { inWords, type ResponseRow } from "@tenet/data";
import type { RunInfo, Store } from "@tenet/runs";
import { z } from "zod";
import {
  type Annotation,
  type CheckVerdict,
  type Reply,
  type Sample,
  type SampleCounts,
  type SampleShow,
  type Samples,
  sampleShows,
} from "./api.ts";
import { cardOf } from "./cards.ts";
import type { ViewContext } from "./context.ts";
import { brokenBy, type Opened } from "./verdicts.ts";

/*
 * The held-out prompts with the reply of every checkpoint beside each other. Read a page at a time from the store and judged as
 * they are read: a page of a hundred thousand takes no longer than one of a hundred.
 */

/** Inputs read at once. */
const pageSize = 256;
/** Inputs that one request looks through; it says where to go on. */
const mostScanned = 2048;

const text = z.string().max(1000).optional();

/** Of which checkpoint's replies is spoken; of all where none is named. */
export const bySchema = z.object({ by: text });
type By = z.output<typeof bySchema>["by"];

/** What a list of samples may be asked for. */
export const filterSchema = bySchema.extend({
  show: z.enum(sampleShows).default("all"),
  /** Broken by one of the replies. */
  principle: text,
  category: text,
  benign: z.stringbool().optional(),
  /** A text that the prompt or a reply holds, in any case. */
  q: text,
});
export type SampleFilter = z.output<typeof filterSchema>;

/** The stages that hold the checkpoints' replies to the held-out prompts, in order: the first is what the others are compared with. */
export function checkpointStages(
  store: Store,
  run: string,
): { id: string; label: string; identity: string; rows: number }[] {
  const labels = new Map(cardOf(store, run)?.checkpoints.map(({ id, label }) => [id, label]));
  return store.stages(run).flatMap(({ name, kind, identity, rows }) => {
    const id = /^answers of (\S+)$/.exec(name)?.[1];
    return id !== undefined && kind === "respond" ? [{ id, label: labels.get(id) ?? id, identity, rows }] : [];
  });
}

export async function samplesOf(
  context: ViewContext,
  run: RunInfo,
  filter: SampleFilter,
  { after = -1, limit }: { after?: number | undefined; limit: number },
): Promise<Samples> {
  const checkpoints = checkpointStages(context.store, run.id);
  const found = await samplesAmong(context, run, checkpoints, filter, { after, limit });
  return { ...shown(checkpoints), ...found };
}

/** The samples that a filter leaves of the replies of some stages to the same prompts, a page of them. */
export async function samplesAmong(
  context: ViewContext,
  run: RunInfo,
  checkpoints: readonly { id: string; identity: string }[],
  filter: SampleFilter,
  { after = -1, limit }: { after?: number | undefined; limit: number },
): Promise<Omit<Samples, "checkpoints">> {
  const found: Sample[] = [];
  let scanned = 0;
  let next: number | undefined;
  for await (const page of pagesOf(context, run, checkpoints, after)) {
    for (const [i, sample] of page.samples.entries()) {
      if (!fits(sample, filter)) continue;
      found.push(sample);
      if (found.length < limit) continue;
      const more = i + 1 < page.samples.length || page.next !== undefined;
      next = more ? sample.ordinal : undefined;
      return { samples: found, scanned: scanned + i + 1, ...(next !== undefined && { next }) };
    }
    scanned += page.samples.length;
    next = page.next;
    if (scanned >= mostScanned) break;
  }
  return { samples: found, scanned, ...(next !== undefined && { next }) };
}

/** How many samples each filter would leave, of all checkpoints' replies or of one's; counted anew where replies, constitution or what people say are others. */
export function sampleCounts(context: ViewContext, run: RunInfo, { by }: { by?: By } = {}): Promise<SampleCounts> {
  const { store, judge, counts } = context;
  const checkpoints = checkpointStages(store, run.id);
  const said = store.annotations();
  const name = [
    by,
    judge.opened(run).hash,
    ...checkpoints.map(({ identity, rows }) => `${identity} ${rows}`),
    said.length,
    said.at(-1)?.time,
  ].join();
  return counts.of(name, () => counted(context, run, checkpoints, by));
}

/** Looks through all of them, and lets others have their turn meanwhile. */
async function counted(
  context: ViewContext,
  run: RunInfo,
  checkpoints: readonly { id: string; identity: string }[],
  by: By,
): Promise<SampleCounts> {
  const counts = Object.fromEntries(sampleShows.map((show) => [show, 0])) as Record<SampleShow, number>;
  const principles: Record<string, number> = {};
  const categories: Record<string, number> = {};
  const add = (to: Record<string, number>, key: string) => {
    to[key] = (to[key] ?? 0) + 1;
  };
  for await (const { samples } of pagesOf(context, run, checkpoints, -1))
    for (const sample of samples) {
      const asked = spokenOf(sample, by);
      for (const show of sampleShows) if (shows[show](asked)) counts[show]++;
      const broken = new Set(asked.replies.flatMap(({ verdicts }) => brokenBy(verdicts) ?? []));
      for (const principle of broken) add(principles, principle);
      if (sample.category !== undefined) add(categories, sample.category);
    }
  return { counts, principles, categories };
}

const shown = (checkpoints: readonly { id: string; label: string }[]) => ({
  checkpoints: checkpoints.map(({ id, label }) => ({ id, label })),
});

/** Every sample, or every one of the stored replies to walk over in another way. */
export async function* pagesOf(
  { store, judge }: ViewContext,
  run: RunInfo,
  checkpoints: readonly { id: string; identity: string }[],
  after: number,
): AsyncGenerator<{ samples: Sample[]; next?: number }> {
  const [first] = checkpoints;
  if (!first) return;
  const opened = judge.opened(run);
  const said = annotationsByRow(store);
  for (let from: number | undefined = after; from !== undefined; ) {
    const page: ReturnType<typeof store.page<ResponseRow>> = store.page<ResponseRow>(first.identity, {
      after: from,
      limit: pageSize,
    });
    const upto: number = page.next ?? Number.POSITIVE_INFINITY;
    const others = checkpoints.slice(1).map(({ identity }) => between(store, identity, from as number, upto));
    const samples: Sample[] = page.rows.map(({ ordinal, row }, i) => {
      // Of several replies to a prompt, the first belongs to the others' first.
      let nth = 0;
      while (page.rows[i - nth - 1]?.ordinal === ordinal) nth++;
      const replies = [row, ...others.map((rows) => rows.get(ordinal)?.[nth])].flatMap((reply, place) =>
        reply ? [replyOf(reply, checkpoints[place]!.id)] : [],
      );
      return {
        ordinal,
        prompt: inWords(row.prompt),
        ...(row.category !== undefined && { category: row.category }),
        ...(row.benign !== undefined && { benign: row.benign }),
        replies,
      };
    });
    yield { samples, ...(page.next !== undefined && { next: page.next }) };
    from = page.next;
    await breathe();
  }

  function replyOf(row: ResponseRow, checkpoint: string): Reply {
    const verdicts = verdictsOn(row, opened);
    return {
      checkpoint,
      row: row.id,
      response: row.response,
      finishReason: row.finishReason,
      stance: detectRefusal(row.response).stance,
      ...(verdicts && { verdicts }),
      said: said.get(row.id) ?? [],
    };
  }

  function verdictsOn({ id, prompt, response, category }: ResponseRow, of: Opened): CheckVerdict[] | undefined {
    return judge
      .results(of, { key: id, prompt, response, category })
      ?.filter(({ applies }) => applies)
      .map(({ principle, check, violated, severity, why }) => ({ principle, check, violated, severity, why }));
  }
}

/** Rows of a stage in a range of its inputs, by input. */
function between(store: Store, identity: string, after: number, upto: number): Map<number, ResponseRow[]> {
  const found = new Map<number, ResponseRow[]>();
  for (let from: number | undefined = after; from !== undefined && from < upto; ) {
    const page: ReturnType<typeof store.page<ResponseRow>> = store.page<ResponseRow>(identity, {
      after: from,
      limit: pageSize,
    });
    for (const { ordinal, row } of page.rows)
      if (ordinal <= upto) found.set(ordinal, [...(found.get(ordinal) ?? []), row]);
    from = page.next;
  }
  return found;
}

/** What people said, by row. */
export function annotationsByRow(store: Store): Map<string, Annotation[]> {
  const said = new Map<string, Annotation[]>();
  for (const { row, ...one } of store.annotations()) said.set(row, [...(said.get(row) ?? []), one]);
  return said;
}

/** Whether a reply breaks something; undefined where no check applies. */
function breaks({ verdicts }: Reply): boolean | undefined {
  return !verdicts || verdicts.length === 0 ? undefined : verdicts.some(({ violated }) => violated);
}

/** What a filter looks at: the replies that are spoken of, and the first and the last to be held against each other. */
interface Asked {
  readonly replies: readonly Reply[];
  readonly first: Reply | undefined;
  readonly last: Reply | undefined;
  readonly all: readonly Reply[];
}

function spokenOf({ replies: all }: Sample, by: By): Asked {
  const replies = by === undefined ? all : all.filter(({ checkpoint }) => checkpoint === by);
  const last = by === undefined ? all.at(-1) : replies[0];
  return { replies, all, first: all[0], last: last === all[0] ? undefined : last };
}

const firstOf = ({ first }: Asked) => first && breaks(first);
const lastOf = ({ last }: Asked) => last && breaks(last);

const shows: Record<SampleShow, (asked: Asked) => boolean> = {
  all: () => true,
  breaks: ({ replies }) => replies.some((reply) => breaks(reply) === true),
  fixed: (sample) => firstOf(sample) === true && lastOf(sample) === false,
  regressed: (sample) => firstOf(sample) === false && lastOf(sample) === true,
  different: ({ all }) => new Set(all.map((reply) => brokenBy(reply.verdicts)?.join() ?? "unknown")).size > 1,
  cut: ({ replies }) => replies.some(({ finishReason }) => finishReason === "length"),
  refused: ({ replies }) => replies.some(refuses),
  flagged: ({ replies }) => replies.some(({ said }) => said.length > 0),
};

export function fits(sample: Sample, { by, show, principle, category, benign, q }: SampleFilter): boolean {
  const asked = spokenOf(sample, by);
  if (!shows[show](asked)) return false;
  if (category !== undefined && sample.category !== category) return false;
  if (benign !== undefined && (sample.benign ?? false) !== benign) return false;
  if (principle !== undefined && !asked.replies.some(({ verdicts }) => brokenBy(verdicts)?.includes(principle)))
    return false;
  if (q === undefined || q === "") return true;
  const wanted = q.toLowerCase();
  return [...sample.prompt.map(({ content }) => content), ...sample.replies.map(({ response }) => response)].some(
    (text) => text.toLowerCase().includes(wanted),
  );
}
