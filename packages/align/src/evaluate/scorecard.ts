import type { Estimate } from "@tenet/data";
import { chainRowSchema, messageSchema } from "@tenet/data";
import { z } from "zod";

/*
 * The scorecard: one JSON document that holds everything the terminal table and the page show, so that both are readers of it and
 * nobody has to trust a rendering.
 */

/** Bounds of a 95 % interval; null where nothing bounds it (one observation, say). */
const intervalSchema = z.tuple([z.number().nullable(), z.number().nullable()]);

const cardEstimateSchema = z.strictObject({
  value: z.number(),
  interval: intervalSchema,
  /** Observations behind the value. */
  n: z.int().min(0),
});
export type CardEstimate = z.output<typeof cardEstimateSchema>;

const metricSchema = z.strictObject({
  name: z.string(),
  label: z.string(),
  /** A share is shown in per cent. */
  unit: z.enum(["share", "number", "nats", "words", "points"]),
  /** How two checkpoints differ: after − before, or after ÷ before − 1. */
  change: z.enum(["difference", "ratio"]),
  better: z.enum(["lower", "higher", "neither"]),
  /** What it measures and how, in a sentence or two. */
  about: z.string(),
  /** Whether a limit that the recipe sets makes the figure: a change of it is then no merit of a model, and no fault. */
  madeByLimit: z.boolean().optional(),
});
export type Metric = z.output<typeof metricSchema>;

const checkpointSchema = z.strictObject({
  /** Short name, unique, e.g. "base", "sl", "rl", "round-2". */
  id: z.string().min(1),
  label: z.string(),
  /** `LanguageModel.id`. */
  model: z.string(),
  /** SHA-256 of the adapter's weights, where there is one. */
  adapter: z.string().optional(),
});
export type Checkpoint = z.output<typeof checkpointSchema>;

const rowSchema = cardEstimateSchema.extend({
  checkpoint: z.string(),
  metric: z.string(),
  better: z.enum(["lower", "higher", "neither"]),
});

const baselineSchema = z.strictObject({
  ...checkpointSchema.omit({ adapter: true }).shape,
  /** What it is, in a sentence. */
  about: z.string(),
  /** The reply that it gives to everything. */
  reply: z.string().optional(),
});

/** An estimate as JSON can hold it: a bound that is none becomes null. */
export function cardEstimate({ value, interval: [low, high], n }: Estimate): CardEstimate {
  const bound = (x: number) => (Number.isFinite(x) ? x : null);
  return { value, interval: [bound(low), bound(high)], n };
}

const differenceSchema = cardEstimateSchema.extend({
  checkpoint: z.string(),
  /** The checkpoint it is compared with, prompt by prompt. */
  against: z.string(),
  metric: z.string(),
});

const chartSchema = z.strictObject({
  title: z.string(),
  /** What stage's figures these are. */
  stage: z.string(),
  kind: z.enum(["line", "scatter"]),
  x: z.string(),
  y: z.string(),
  series: z.array(z.strictObject({ label: z.string(), points: z.array(z.tuple([z.number(), z.number()])) })).min(1),
});
export type Chart = z.output<typeof chartSchema>;

export const labelHealthSchema = z.strictObject({
  labeller: z.string(),
  /** On pairs with a known answer; of n = 0 where none was labelled. */
  accuracy: cardEstimateSchema,
  /** Whether the gate let its labels through, and why or why not. */
  gate: z.strictObject({ passed: z.boolean(), overridden: z.boolean().default(false), why: z.string() }),
  /** Further figures of the audit, each with its name and what it should be near. */
  figures: z.array(z.strictObject({ label: z.string(), estimate: cardEstimateSchema, ideal: z.string().optional() })),
  /** Of the stated probabilities, lower being better for both: expected calibration error, and the Brier score, 0.25 for who always says ½. */
  calibration: z.strictObject({ ece: z.number(), brier: cardEstimateSchema }).optional(),
  /** Reliability diagram: stated probability against what came true. */
  reliability: z.array(z.strictObject({ predicted: z.number(), observed: z.number(), n: z.int() })).default([]),
  principles: z.array(z.strictObject({ principle: z.string(), agreement: cardEstimateSchema })).default([]),
});
export type LabelHealth = z.output<typeof labelHealthSchema>;

/** What people who judged the run's pairs agree on. They are numbered: their names stay in the store. */
const peopleSchema = z.strictObject({
  /** That somebody judged, and how often somebody did. */
  pairs: z.int().min(0),
  judgements: z.int().min(0),
  /** Pairs that one person judged: they say nothing of agreement. */
  single: z.int().min(0),
  /** Krippendorff's, nominal, and the share of pairs on which all said the same; absent where none was judged twice. */
  alpha: cardEstimateSchema.optional(),
  raw: cardEstimateSchema.optional(),
  each: z.array(
    z.strictObject({
      person: z.int().min(1),
      answers: z.int().min(0),
      /** A judgement's, on average. */
      seconds: z.number().optional(),
      /** Of what others said of the same pairs, how much they said too. */
      agreement: cardEstimateSchema.optional(),
      /** How often the left one was preferred where one was. */
      leftShare: cardEstimateSchema.optional(),
    }),
  ),
});
export type PeopleCard = z.output<typeof peopleSchema>;

const preferenceModelSchema = z.strictObject({
  /** On labelled pairs that it was not trained on; of n = 0 where there were none. */
  accuracy: cardEstimateSchema,
  /** Pairs that it was trained on. */
  pairs: z.int().min(0),
  /** Pearson's correlation of score and length of the reply; absent where it is not defined. */
  lengthCorrelation: z.number().optional(),
  /** Of one that is shown principles: share of pairs judged right under these and under their opposites. */
  flip: cardEstimateSchema.optional(),
});

const cardVerdictSchema = z.strictObject({
  principle: z.string(),
  check: z.string().optional(),
  violated: z.boolean(),
  why: z.string().optional(),
});

const sampleSchema = z.strictObject({
  prompt: z.array(messageSchema).min(1),
  category: z.string().optional(),
  benign: z.boolean().optional(),
  responses: z.array(
    z.strictObject({
      checkpoint: z.string(),
      /** Id of the reply's row in the store. */
      row: z.string().optional(),
      response: z.string(),
      finishReason: z.enum(["stop", "length", "filtered"]),
      stance: z.enum(["answers", "partial", "refuses", "empty"]),
      /** Verdicts that apply. */
      verdicts: z.array(cardVerdictSchema),
    }),
  ),
});
export type CardSample = z.output<typeof sampleSchema>;

const chainSchema = z.strictObject({
  /** Id of the chain's row in the store. */
  row: z.string().optional(),
  prompt: z.array(messageSchema).min(1),
  responses: chainRowSchema.shape.responses,
  rounds: chainRowSchema.shape.rounds,
});

/** A reply that breaks a principle: one for every principle that a checkpoint breaks, drawn by the seed. */
const breakSchema = z.strictObject({
  checkpoint: z.string(),
  principle: z.string(),
  /** Mean severity of the violations, in [0, 1]; 1 where nobody says. */
  severity: z.number().min(0).max(1),
  row: z.string(),
  prompt: z.array(messageSchema).min(1),
  response: z.string(),
  check: z.string().optional(),
  why: z.string().optional(),
});

/** Every reply in short, so that each can be found in the store. */
const replyListSchema = z.array(
  z.strictObject({
    /** Beginning of the last message. */
    prompt: z.string(),
    category: z.string().optional(),
    benign: z.boolean().optional(),
    replies: z.array(
      z.strictObject({
        checkpoint: z.string(),
        row: z.string(),
        /** Beginning of the reply. */
        begins: z.string(),
        /** Principles that it breaks; absent where no check applies. */
        breaks: z.array(z.string()).optional(),
      }),
    ),
  }),
);

const costSchema = z.strictObject({
  /** Stage or role. */
  name: z.string(),
  model: z.string().optional(),
  promptTokens: z.int().min(0).optional(),
  completionTokens: z.int().min(0).optional(),
  seconds: z.number().min(0).optional(),
  usd: z.number().min(0).optional(),
  /** Labels it gave, for the price of one. */
  labels: z.int().min(0).optional(),
});

/** What the labels that were learnt from cost, each; a figure without a price has none. */
const labellingSchema = z.strictObject({
  labels: z.int().min(1),
  roles: z.array(
    z.strictObject({ role: z.string(), tokens: z.number(), seconds: z.number(), usd: z.number().optional() }),
  ),
  total: z.strictObject({ role: z.string(), tokens: z.number(), seconds: z.number(), usd: z.number().optional() }),
  /** Before the first label: training of a judge, audits. */
  fixedUsd: z.number().optional(),
  /** Labels from which on they are cheaper than people's, at people's highest price and at their lowest; null: never. */
  breakEven: z.strictObject({ atHigh: z.int().nullable(), atLow: z.int().nullable() }).optional(),
});

const trustSchema = z.enum(["together", "unconfirmed", "parted"]);

/**
 * The scorecard's format. `version` changes when a reader of the old would misread the new; unknown keys are refused, so
 * that a document that validates is one this version knows in full.
 */
export const scorecardSchema = z
  .strictObject({
    format: z.literal("tenet scorecard"),
    version: z.literal(1),
    title: z.string(),
    /** ISO 8601; given by the caller, so that equal runs can give equal documents. */
    created: z.string().optional(),
    constitution: z.strictObject({
      name: z.string(),
      /** SHA-256. */
      hash: z.string(),
      principles: z.array(
        z.strictObject({
          id: z.string(),
          text: z.string(),
          category: z.string().optional(),
          /** Whether a program can tell a violation; the others count only where a critic judged. */
          checked: z.boolean(),
        }),
      ),
    }),
    /** In order; the first is what the others are compared with. */
    checkpoints: z.array(checkpointSchema).min(1),
    /** What the same prompts give without training, and what can be said of it. Their ids stand in `rows`, `differences` and `principles` too. */
    baselines: z.strictObject({ models: z.array(baselineSchema).min(1), sentences: z.array(z.string()) }).optional(),
    heldOut: z.strictObject({
      prompts: z.int(),
      benign: z.int(),
      /** Absent where there are no prompts. */
      samplesPerPrompt: z.number().optional(),
      seed: z.int(),
    }),
    metrics: z.array(metricSchema),
    rows: z.array(rowSchema),
    differences: z.array(differenceSchema),
    /** Violation rate per principle and checkpoint. */
    principles: z.array(cardEstimateSchema.extend({ principle: z.string(), checkpoint: z.string() })),
    /** Violation rate per category of prompt and checkpoint. */
    categories: z.array(cardEstimateSchema.extend({ category: z.string(), checkpoint: z.string() })),
    /** What can be said, sentence by sentence, made of the intervals. */
    verdict: z.strictObject({ tone: z.enum(["better", "mixed", "unclear", "worse"]), sentences: z.array(z.string()) }),
    /** Id of the checkpoint to use; absent where nothing measured says which, and in documents of before. */
    recommended: z.string().optional(),
    /** Whether what is recommended is shown to violate less than the first checkpoint. */
    better: z.boolean().optional(),
    /** Principles that may not be broken, in the recommended checkpoint. */
    mustHold: z.array(cardEstimateSchema.extend({ principle: z.string(), checkpoint: z.string() })).default([]),
    /** Principles that may not be broken and of which nothing tells whether they are: no check of them applies to any held-out reply. */
    unseen: z.array(z.string()).optional(),
    /** Checkpoints whose figures measure nothing, and why: no verdict is made of them. */
    voids: z.array(z.strictObject({ checkpoint: z.string(), why: z.string() })).optional(),
    /** What had to pass before it was learnt from. */
    gates: z
      .array(
        z.strictObject({
          name: z.string(),
          passed: z.boolean(),
          overridden: z.boolean(),
          why: z.string(),
        }),
      )
      .default([]),
    overoptimisation: z
      .strictObject({
        rule: z.string(),
        trust: trustSchema,
        proxyName: z.string(),
        judgeName: z.string(),
        points: z.array(
          z.strictObject({
            name: z.string(),
            kl: z.number(),
            proxy: cardEstimateSchema,
            judge: cardEstimateSchema,
            trust: trustSchema,
            against: z.string().optional(),
          }),
        ),
      })
      .optional(),
    /** Who is asked whether what was trained against still serves its end: a judge that training never saw, checks that nothing but the scorecard runs, checks that are no part of the reward, or nobody. */
    independence: z
      .strictObject({
        kind: z.enum(["judge", "unseen", "checks", "none"]),
        name: z.string().optional(),
        why: z.string(),
        /** Whether it is asked about some of the principles that have checks only, so that its rise confirms nothing of the others. */
        partial: z.boolean().optional(),
      })
      .optional(),
    labelHealth: z.array(labelHealthSchema),
    people: peopleSchema.optional(),
    preferenceModel: preferenceModelSchema.optional(),
    /** Pairs that were learnt from, by who preferred: `check`, `ai`, `human`, `ranking`. */
    labelsBy: z.record(z.string(), z.int().min(0)).optional(),
    charts: z.array(chartSchema),
    chains: z.array(chainSchema),
    samples: z.array(sampleSchema),
    breaks: z.array(breakSchema).optional(),
    replies: replyListSchema.optional(),
    costs: z.array(costSchema),
    labelling: labellingSchema.optional(),
    /** USD for one human label, low and high, to hold the cost of a machine's against. */
    humanLabelUsd: z.tuple([z.number(), z.number()]).default([1, 10]),
    provenance: z.strictObject({
      /** What to type to get the same again. */
      command: z.string().optional(),
      seed: z.int(),
      /** Name to SHA-256: recipe, datasets, adapters, … */
      hashes: z.record(z.string(), z.string()),
      /** Name to version: tenet, node, onnxruntime, … */
      versions: z.record(z.string(), z.string()),
      /** Role to `LanguageModel.id`. */
      models: z.record(z.string(), z.string()),
      notes: z.array(z.string()).default([]),
    }),
  })
  .refine(
    ({ checkpoints, baselines, rows }) => {
      const named = [...checkpoints, ...(baselines?.models ?? [])];
      const known = new Set(named.map(({ id }) => id));
      return known.size === named.length && rows.every(({ checkpoint }) => known.has(checkpoint));
    },
    { error: "checkpoints and baselines need distinct ids, and every row the id of one of them" },
  );
export type Baseline = z.output<typeof baselineSchema>;
export type Scorecard = z.output<typeof scorecardSchema>;
export type ScorecardInput = z.input<typeof scorecardSchema>;

/** A document that is no scorecard of this version. */
export class ScorecardError extends Error {
  override name = "ScorecardError";
}

/**
 * Reads a scorecard's JSON text.
 *
 * Errors: ScorecardError naming what is wrong and where in the document.
 */
export function parseScorecard(text: string): Scorecard {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ScorecardError(`expected a scorecard in JSON, but the text is not JSON: ${(error as Error).message}`);
  }
  const parsed = scorecardSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const version = (value as { version?: unknown } | null)?.version;
  const hint = version !== 1 ? ` This reader knows version 1; the document says ${JSON.stringify(version)}.` : "";
  throw new ScorecardError(`this is no scorecard:\n${z.prettifyError(parsed.error)}${hint}`);
}

/** The scorecard as JSON text, two spaces deep, ending in a newline. Equal scorecards give equal bytes. */
export function scorecardJson(scorecard: Scorecard): string {
  return `${JSON.stringify(scorecardSchema.parse(scorecard), null, 2)}\n`;
}
