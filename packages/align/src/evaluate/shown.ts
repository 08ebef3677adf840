import { type ChainRow, groupBy, inWords, mean, randomStream } from "@tenet/data";
import type { JudgedResponse } from "./adherence.ts";
import { violates } from "./adherence.ts";
import type { CheckpointEvidence, MeasureOptions } from "./measures.ts";
import { promptKey } from "./refusal.ts";
import type { CardSample, Scorecard } from "./scorecard.ts";

/*
 * Replies and chains that the scorecard shows. The seed draws them: nobody chose them. What a prompt shows is told in words.
 */

/** Items drawn without replacement, in their own order. */
export function draw<Item>(items: readonly Item[], count: number, seed: number, stage: string): Item[] {
  const stream = randomStream({ seed, stage: `scorecard ${stage}`, item: items.length });
  return items
    .map((item, place) => ({ item, place, order: stream.uniform(place) }))
    .sort((a, b) => a.order - b.order)
    .slice(0, count)
    .sort((a, b) => a.place - b.place)
    .map(({ item }) => item);
}

export function shownChains(chains: readonly ChainRow[], count: number, seed: number): Scorecard["chains"] {
  return draw(chains, count, seed, "chains").map(({ id: row, prompt, responses, rounds }) => ({
    row,
    prompt: inWords(prompt),
    responses,
    rounds,
  }));
}

/** Random prompts with the first reply of every checkpoint. */
export function shownSamples(
  checkpoints: readonly CheckpointEvidence[],
  count: number,
  { seed, stanceOf }: MeasureOptions,
): CardSample[] {
  const replies = checkpoints.map(({ responses }) => byPrompt(responses));
  const shared = [...(replies[0] ?? [])].filter(([key]) => replies.every((group) => group.has(key)));
  return draw(shared, count, seed, "samples").map(([key, [first]]) => {
    const { prompt, category, benign } = first!.row;
    return {
      prompt: inWords(prompt),
      ...(category === undefined ? {} : { category }),
      ...(benign === undefined ? {} : { benign }),
      responses: checkpoints.map(({ id }, i) => {
        const { row, verdicts } = replies[i]!.get(key)![0]!;
        return {
          checkpoint: id,
          row: row.id,
          response: row.response,
          finishReason: row.finishReason,
          stance: stanceOf(row).stance,
          verdicts: verdicts
            .filter(({ applies }) => applies)
            .map(({ principle, check, violated, why }) => ({
              principle,
              ...(check === undefined ? {} : { check }),
              violated,
              ...(why === undefined ? {} : { why }),
            })),
        };
      }),
    };
  });
}

/** One reply for every principle that a checkpoint breaks, and how bad its violations are. */
export function brokenReplies(
  checkpoints: readonly CheckpointEvidence[],
  seed: number,
): NonNullable<Scorecard["breaks"]> {
  return checkpoints.flatMap(({ id, responses }) => {
    const broken = responses.flatMap((response) =>
      response.verdicts
        .filter(({ applies, violated }) => applies && violated)
        .map((verdict) => ({ response, verdict, principle: verdict.principle })),
    );
    return [...groupBy(broken, ({ principle }) => principle)].flatMap(([principle, cases]) => {
      const [one] = draw(cases, 1, seed, `breaks ${principle}`);
      if (!one) return [];
      const { row } = one.response;
      // A reply that fails two checks of a principle breaks it as badly as the worse of them.
      const worst = [...groupBy(cases, ({ response }) => response.row.id).values()].map((some) =>
        Math.max(...some.map(({ verdict }) => verdict.severity ?? 1)),
      );
      const { check, why } = one.verdict;
      return [
        {
          checkpoint: id,
          principle,
          severity: mean(worst),
          row: row.id,
          prompt: inWords(row.prompt),
          response: row.response,
          ...(check === undefined ? {} : { check }),
          ...(why === undefined ? {} : { why }),
        },
      ];
    });
  });
}

/** Every prompt with the rows of all its replies. */
export function replyList(checkpoints: readonly CheckpointEvidence[]): NonNullable<Scorecard["replies"]> {
  const groups = checkpoints.map(({ id, responses }) => ({ id, replies: byPrompt(responses) }));
  const keys = new Set(groups.flatMap(({ replies }) => [...replies.keys()]));
  return [...keys].map((key) => {
    const members = groups.flatMap(({ id, replies }) => (replies.get(key) ?? []).map((response) => ({ id, response })));
    const { prompt, category, benign } = members[0]!.response.row;
    return {
      prompt: clip(inWords(prompt).at(-1)!.content),
      ...(category === undefined ? {} : { category }),
      ...(benign === undefined ? {} : { benign }),
      replies: members.map(({ id, response }) => ({
        checkpoint: id,
        row: response.row.id,
        begins: clip(response.row.response),
        ...(violates(response) === undefined ? {} : { breaks: brokenBy(response) }),
      })),
    };
  });
}

function brokenBy({ verdicts }: JudgedResponse): string[] {
  return [
    ...new Set(verdicts.filter(({ applies, violated }) => applies && violated).map(({ principle }) => principle)),
  ];
}

function byPrompt(responses: readonly JudgedResponse[]): Map<string, JudgedResponse[]> {
  return groupBy(responses, ({ row }) => promptKey(row));
}

/** A line of a text. */
export function clip(text: string, length = 110): string {
  const line = text.replaceAll(/\s+/g, " ").trim();
  const characters = [...line];
  return characters.length > length ? `${characters.slice(0, length - 1).join("")}…` : line;
}
