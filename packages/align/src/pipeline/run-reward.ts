import { type LocalModel, openLocalModel, type TextCodec, UsageError } from "@tenet/lm";
import type { StageInfo, Store } from "@tenet/runs";
import {
  constitutionalReward,
  constitutionTerm,
  openPreferenceModel,
  type PreferenceModel,
  preferenceReward,
  type Reward,
  type RewardSettings,
  rewardFrom,
  rewardSettingsSchema,
  weightedTerms,
} from "@tenet/train";
import { z } from "zod";
import { type Constitution, checkReward, constitutionHash, runChecks } from "../constitution/index.ts";
import { rulesIn } from "../constitution/schema.ts";
import { openedOf, trainedSchema } from "./checkpoints.ts";
import { deviceOf, type SpeakerOptions } from "./models.ts";
import { preferenceGates, wentWithout } from "./went-without.ts";

/** What a response is worth to a run, opened for others to be told. */
export interface OpenReward {
  readonly reward: Reward;
  /** Of the model that judges. */
  readonly text: TextCodec;
  readonly settings: RewardSettings;
  /** What it is made of, for people. */
  readonly about: Readonly<Record<string, unknown>>;
  /** What is to be thought over before anything is trained on it. */
  readonly warnings: readonly string[];
  close(): Promise<void>;
}

const recipeSchema = z.object({
  policy: z.object({ reward: z.unknown() }).partial().optional(),
  preferenceModel: z.object({ given: z.unknown() }).partial().optional(),
});

/**
 * Opens a finished run's reward: its preference model, the checks of its constitution, weighed as its policy was trained, or by other weights. A
 * preference model that its policy learnt without weighs nothing unless it is given a weight.
 *
 * Errors: UsageError for a run without what is weighed, and for terms that other models would have to be asked for; NotInStoreError;
 * those of `openLocalModel`.
 */
export async function openRunReward(
  store: Store,
  run: string,
  { terms: given = {}, ...options }: SpeakerOptions & { readonly terms?: Readonly<Record<string, number>> } = {},
): Promise<OpenReward> {
  const info = store.run(run);
  const opened = await openedOf(store, run);
  if (opened === undefined) throw new UsageError(`run ${run} does not say which model and principles it has`);
  const noted = opened.constitution as Constitution;
  const trained = last(store.stages(run), "preference-model");
  const { policy, preferenceModel } = recipeSchema.parse(info.recipe);
  const said = policy?.reward ?? (trained ? {} : { preference: 0, constitution: 1 });
  const own = wentWithout(store, run) ? { ...(said as object), preference: 0 } : said;
  const settings = weighed(rewardSettingsSchema.parse(own), given);
  const terms = weightedTerms(settings);
  if (terms.includes("judge") || (terms.includes("constitution") && constitutionTerm(settings).by !== "checks"))
    throw new UsageError(
      "this run's reward asks a critic or a judge for every response, which are not served: give weights of what is, such as --weight preference=1 --weight constitution=0.5 (the checks)",
    );
  if (terms.includes("preference") && trained === undefined)
    throw new UsageError(
      `run ${run} has no preference model that is done: give --weight preference=0, or go on with the run`,
    );
  if (terms.includes("preference") && preferenceModel?.given !== undefined)
    throw new UsageError(
      "this run's preference model judges by principles that it is shown (preferenceModel.given), which are not served: give --weight preference=0 --weight constitution=1 (the checks)",
    );
  if (terms.includes("constitution") && noted.principles.some(({ checks }) => checks.some(hasModule)))
    throw new UsageError(
      `checks of "${noted.name}" are modules, which a run does not keep: give --weight constitution=0`,
    );
  // By the source that the preference model was trained on, where it is known.
  const reference = (trained && trainedSchema.parse(trained.output).opened?.from) ?? opened.model;
  const base = await openLocalModel(reference, options);
  const scorer = await openScorer(base, store, terms.includes("preference") ? trained : undefined, options);
  const gate = preferenceGates(store, run).at(-1)?.gate;
  return {
    reward: rewardFrom(settings, {
      preference: scorer && preferenceReward(scorer),
      constitution: constitutionalReward((request) => checkReward(noted, runChecks(noted, request))),
    }),
    text: base.text,
    settings,
    about: {
      ...{
        run,
        model: opened.model,
        weights: Object.fromEntries(terms.map((name) => [name, weightOf(settings, name)])),
      },
      constitution: { name: noted.name, hash: constitutionHash(noted) },
      ...(trained && { preferenceModel: trained.name }),
    },
    warnings:
      scorer && gate && !gate.passed ? [`the gate refused this preference model: ${gate.reasons.join("; ")}`] : [],
    async close() {
      await scorer?.close();
      await base.close();
    },
  };
}

async function openScorer(
  base: LocalModel,
  store: Store,
  stage: StageInfo | undefined,
  options: SpeakerOptions,
): Promise<PreferenceModel | undefined> {
  if (stage === undefined) return undefined;
  try {
    const folder = await store.intactArtifact(trainedSchema.parse(stage.output).artifact);
    return await openPreferenceModel(base, folder, deviceOf(options));
  } catch (error) {
    await base.close();
    throw error;
  }
}

/** The last finished stage of a kind: of rounds the last one's. */
function last(stages: readonly StageInfo[], kind: string): StageInfo | undefined {
  return stages.filter((stage) => stage.kind === kind && stage.status === "done").at(-1);
}

/** Settings with other weights. Errors: UsageError for a term that is none. */
function weighed(settings: RewardSettings, weights: Readonly<Record<string, number>>): RewardSettings {
  const known = ["preference", "constitution"];
  const unknown = Object.keys(weights).find((name) => !known.includes(name));
  if (unknown !== undefined) throw new UsageError(`--weight: there is no "${unknown}"; expected ${known.join(" or ")}`);
  if (Object.keys(weights).length === 0) return settings;
  // Weights that are said are all there are: the checks' for the constitution, and nobody to be asked.
  const { judge: _, ...others } = settings;
  return rewardSettingsSchema.parse({ ...others, preference: 0, constitution: 0, ...weights });
}

const weightOf = (settings: RewardSettings, name: string) =>
  name === "constitution" ? constitutionTerm(settings).weight : settings.preference;

const hasModule = (check: Parameters<typeof rulesIn>[0]) => rulesIn(check).includes("module");
