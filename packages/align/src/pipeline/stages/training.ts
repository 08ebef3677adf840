import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { plainJson } from "@tenet/data";
import { type LanguageModel, parseReference } from "@tenet/lm";
import { hashOf, type StageWriter, type Usage } from "@tenet/runs";
import { resuming, type ShownRollout } from "@tenet/train";
import type { Memo } from "../../ask.ts";
import { type Meter, metered } from "../meter.ts";
import { type LocalSource, localName, type ModelValue, type Value } from "../values.ts";
import { asideOf, onStage } from "./done.ts";
import {
  type Described,
  described,
  type Expect,
  type Inputs,
  mapValues,
  type Stage,
  type StageContext,
  type ValuesOf,
} from "./stage.ts";

/** A step of training. */
export interface TrainingEvent {
  readonly step: number;
  readonly of?: number;
  readonly metrics: Readonly<Record<string, number>>;
  /** What models were asked for, by role: `policy` for the one in training. */
  readonly usage?: Readonly<Record<string, Usage>>;
  /** Some of what a policy said in the step. */
  readonly rollouts?: readonly ShownRollout[];
}

/** What training leaves: an adapter in PEFT's format, or a whole checkpoint. */
export interface TrainingResult {
  readonly kind: "adapter" | "model";
  readonly path: string;
  readonly report: unknown;
}

/** What a training is given besides its data. */
export interface TrainingContext extends StageContext {
  readonly base: LocalSource;
  /** Where it keeps checkpoints and its result. */
  readonly folder: string;
  /** The models that it asks, by role. What passes through them is written down with the answers. */
  readonly speakers: Readonly<Record<string, LanguageModel>>;
  /** Keeps what they answer. */
  readonly memo: Memo;
}

export interface TrainingStageOptions<I extends Inputs> extends Described {
  readonly inputs: I;
  /** Models that are asked while it trains, by role. */
  readonly models?: Readonly<Record<string, Stage<ModelValue>>>;
  /** What training starts from. */
  readonly base: Stage<ModelValue>;
  /** Stages to be executed before, whose values are not used: gates. */
  readonly behind?: readonly Stage[];
  /** Names of inputs that need not have rows: what is only tested on. */
  readonly mayBeEmpty?: readonly (keyof I)[];
  readonly settings: unknown;
  /** A version before this one, and whether what it made is what this one would make, by its report: then it is reused. */
  readonly before?: { readonly version: number; readonly same: (report: unknown) => boolean };
  /** Inputs that it does without after all, told when all before it is there: it then depends on nothing of them. */
  readonly without?: (context: StageContext) => readonly (keyof I)[];
  /** What it will take. */
  readonly expect: Expect;
  /** Trains, keeping checkpoints and the result in `folder`, which is the same one when a killed run continues. */
  train(inputs: ValuesOf<I>, context: TrainingContext): AsyncGenerator<TrainingEvent, TrainingResult>;
}

/**
 * How trainings compute, beside what a stage's version says. Since 2 a place of a row that holds no token is not computed: sums over places
 * are of other terms, and results are those of 1 up to rounding, so that what was trained then is reused.
 */
const arithmetic = 2;

/** Datasets and models to a model, by the hash of its files. */
export function trainingStage<I extends Inputs>(options: TrainingStageOptions<I>): Stage<ModelValue> {
  const { name, kind, seed, inputs, models: roles = {}, base, behind = [], mayBeEmpty = [] } = options;
  return {
    ...described(options, [base, ...Object.values(inputs), ...Object.values(roles), ...behind]),
    player: base.player,
    expect: options.expect,
    asks: roles,
    async execute(context) {
      for (const [input, stage] of Object.entries(inputs))
        if (!mayBeEmpty.includes(input)) mustHaveRows(stage, context);
      const without = options.without?.(context) ?? [];
      const used = Object.fromEntries(Object.entries(inputs).filter(([input]) => !without.includes(input)));
      const values = mapValues(used, (stage) => context.value(stage)) as ValuesOf<I>;
      const { source, hash: baseHash } = context.value(base);
      if (source.type !== "local") throw new TypeError(`${name}: a model behind an endpoint cannot be trained`);
      const hashes = mapValues(values as Record<string, Value>, ({ hash }) => hash);
      const asked = mapValues(roles, (stage) => context.value(stage));
      // Who is not asked does not count: a training that asks nobody has the identity it always had.
      const askedHashes = Object.keys(asked).length > 0 ? [mapValues(asked, ({ hash }) => hash)] : [];
      const identityOf = (of: number, computed: readonly object[]) =>
        hashOf([kind, of, seed, baseHash, hashes, options.settings, ...askedHashes, ...computed]);
      const { version, before } = options;
      const kept = (of: number, same = (_report: unknown) => true) => {
        const made = context.store.output(identityOf(of, [])) as { report?: unknown } | undefined;
        return made && same(made.report) ? identityOf(of, []) : undefined;
      };
      const identity =
        (before && kept(before.version, before.same)) ?? kept(version) ?? identityOf(version, [{ arithmetic }]);
      const work = async (stage: StageWriter) => {
        const { speakers, memo, done } = await askedThrough(asked, stage, context);
        const given = { ...context, base: source, folder: stage.scratch(), speakers, memo };
        // Where an engine's workers were lost, from the last checkpoint.
        const training = resuming(() => options.train(values, given), {
          onRestart: ({ message }) =>
            context.emit({
              ...{ type: "message", stage: name, level: "warning" },
              message: `${message}; on from the last checkpoint`,
            }),
        });
        let next: IteratorResult<TrainingEvent, TrainingResult>;
        try {
          next = await training.next();
          for (; !next.done; next = await training.next()) {
            const { step, of, metrics, usage = {}, rollouts } = next.value;
            stage.metrics(step, metrics);
            if (rollouts) stage.rollouts(step, rollouts);
            for (const [role, spent] of Object.entries(usage)) stage.usage(role, spent);
            context.emit({ type: "metrics", stage: name, step, ...(of === undefined ? {} : { of }), metrics });
          }
        } finally {
          for (const [line, count] of done())
            context.emit({ type: "message", stage: name, level: "warning", message: `${line} (${count} ×)` });
        }
        const { kind: made, path, report } = next.value;
        const [first] = asideOf(report);
        if (first !== undefined)
          context.emit({
            ...{ type: "message", stage: name, level: "info" },
            message: `${asideOf(report).length} set aside; the first: ${first.reason}`,
          });
        if (made === "adapter") await withoutPath(path, source);
        const { hash } = await stage.addArtifact(path);
        // A figure that is not defined, such as the correlation of what does not vary, is NaN; JSON's word for it is null.
        const { opened } = source;
        const output = { kind: made, artifact: hash, report: plainJson(report), ...(opened && { opened }) };
        stage.finish({ output, artifacts: [hash] });
      };
      const { output } = await onStage(context, options, identity, work);
      const { kind: made, artifact, report } = output as Pick<TrainingResult, "kind" | "report"> & { artifact: string };
      const path = await context.store.intactArtifact(artifact);
      return {
        kind: "model",
        hash: hashOf([baseHash, made, artifact]),
        source: made === "adapter" ? { ...source, adapter: path } : { type: "local", reference: path },
        report,
      };
    },
  };
}

/** The models that a training asks, metered, and what keeps their answers as items of its stage. */
async function askedThrough(
  asked: Readonly<Record<string, ModelValue>>,
  stage: StageWriter,
  { models }: Pick<StageContext, "models">,
) {
  const meters: Record<string, Meter> = {};
  for (const [role, value] of Object.entries(asked)) {
    const model = await models.speaker(value);
    meters[role] = metered(model, value.source.type === "local" ? localName(value.source, value.hash) : model.id);
  }
  const spend = () => mapValues(meters, (meter) => meter.spent());
  const written = () => {
    for (const meter of Object.values(meters)) meter.written();
  };
  const memo: Memo = {
    recall: (questions) => stage.recall(questions),
    // What was asked and what came of it are written together: a killed process loses neither without the other.
    keep(answers) {
      stage.append(answers, { usage: spend() });
      written();
    },
  };
  return {
    speakers: mapValues(meters, ({ model }) => model),
    memo,
    /** Writes down what no answer was kept of; gives what was noticed. */
    done() {
      if (!stage.done) for (const [role, spent] of Object.entries(spend())) stage.usage(role, spent);
      written();
      return Object.entries(meters).flatMap(([role, meter]) =>
        [...meter.noticed()].map(([line, count]): [string, number] => [`${role}: ${line}`, count]),
      );
    },
  };
}

/** An adapter's hash is not to depend on where its base lies on this machine: a path is taken out of its config. */
async function withoutPath(folder: string, { reference }: LocalSource): Promise<void> {
  if (parseReference(reference).kind !== "path") return;
  const file = join(folder, "adapter_config.json");
  const config = JSON.parse(await readFile(file, "utf8")) as object;
  await writeFile(file, `${JSON.stringify({ ...config, base_model_name_or_path: null }, null, 2)}\n`);
}

/** There is nothing to train on: every input of a stage before it was set aside. */
export class NothingLeftError extends Error {
  override name = "NothingLeftError";
}

/** Errors: NothingLeftError that names the first stage on the way to this one whose inputs all came to nothing, and why. */
function mustHaveRows(stage: Stage, context: StageContext): void {
  const value = context.value(stage);
  if (value.kind !== "rows" || value.count > 0) return;
  for (const input of stage.inputs) mustHaveRows(input, context);
  const why = value.reasons().map(({ reason, count }) => `${count} × ${reason}`);
  const more = why.length > 3 ? `; and ${why.length - 3} more reasons` : "";
  throw new NothingLeftError(
    `nothing is left to train on: stage "${stage.name}" (${stage.title}) gave no row. Set aside: ${why.slice(0, 3).join("; ") || "nothing"}${more}. What was made before it is kept. Read it (tenet show latest ${stage.inputs[0]?.name ?? stage.name} --rows 20), then give more prompts, or ask less of what is learnt (supervised.examples.keep: all, supervised.critique.accept)`,
  );
}
