import type { ExampleRow, PreferenceRow } from "@tenet/data";
import type { StageInfo, Store } from "@tenet/runs";
import { z } from "zod";
import type { Scorecard } from "../evaluate/index.ts";

/*
 * What a run's store knows of the signals that its policy was trained by.
 */

/** Where the pairs that are learnt from lie: weighed, or mixed, or with people's words over the machine's, or the machine's alone. */
const labelStages = ["weighed labels", "preferences", "pairs of all rounds", "human labels", "labels"];

/** And the examples: mixed with what keeps the model helpful, with people's, these alone, or the chains' alone. */
const exampleStages = ["mixture", "all examples", "written", "examples"];

/** The last round's of those. */
function lastOf(names: readonly string[], stages: readonly StageInfo[]): StageInfo | undefined {
  const done = stages.flatMap((stage) => {
    const [, own, round = "1"] = /^(.*?)(?: to imitate)?(?: (\d+))?$/.exec(stage.name)!;
    const place = names.indexOf(own!);
    return place >= 0 && stage.status === "done" ? [{ stage, place, round: Number(round) }] : [];
  });
  return done.sort((a, b) => b.round - a.round || a.place - b.place)[0]?.stage;
}

/** Of the examples that some stages learnt, how many people wrote; undefined where nothing was learnt by examples. */
export function examplesBy(
  store: Store,
  stages: readonly StageInfo[],
): { readonly people: number; readonly all: number } | undefined {
  const stage = lastOf(exampleStages, stages);
  if (!stage) return undefined;
  let people = 0;
  for (const { origin } of store.rows<ExampleRow>(stage.identity)) if (origin.writtenBy === "people") people++;
  return { people, all: stage.rows };
}

/** Pairs that a run learnt from, by who preferred; undefined where nothing was labelled. */
export function labelsBy(store: Store, run: string): Record<string, number> | undefined {
  const stage = lastOf(labelStages, store.stages(run));
  if (!stage) return undefined;
  const counts: Record<string, number> = {};
  for (const { label } of store.rows<PreferenceRow>(stage.identity)) counts[label] = (counts[label] ?? 0) + 1;
  return counts;
}

const estimate = z.object({
  value: z.number(),
  interval: z.tuple([z.number().nullable(), z.number().nullable()]),
  n: z.int(),
});

/** What the preference model's training reported, as the store keeps it: a figure that is not defined is null. */
const reportSchema = z.object({
  report: z.object({
    pairs: z.int(),
    evaluation: z
      .object({
        accuracy: estimate,
        lengthCorrelation: z.number().nullable().optional(),
        given: z.object({ flip: estimate }).optional().catch(undefined),
      })
      .optional()
      // Without a pair that has a preferred reply there is no accuracy.
      .catch(undefined),
  }),
});

/** How the preference model of a run, of several the last, does on pairs that it was not trained on; undefined where there is no such model. */
export function preferenceModelOf(store: Store, run: string): Scorecard["preferenceModel"] {
  const stage = store.stages(run).findLast(({ kind, status }) => kind === "preference-model" && status === "done");
  if (!stage) return undefined;
  const { pairs, evaluation } = reportSchema.parse(stage.output).report;
  const { accuracy = { value: 0, interval: [null, null], n: 0 }, lengthCorrelation, given } = evaluation ?? {};
  return {
    accuracy,
    pairs,
    ...(typeof lengthCorrelation === "number" ? { lengthCorrelation } : {}),
    ...(given && { flip: given.flip }),
  };
}
