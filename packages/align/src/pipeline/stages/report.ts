import { hashOf, type StageWriter } from "@tenet/runs";
import { nothing } from "../expectation.ts";
import type { Report, Value } from "../values.ts";
import { onStage } from "./done.ts";
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

/** A gate refused to go on: exit code 3. */
export class GateError extends Error {
  override name = "GateError";
  /** The stage that refused. */
  stage?: Stage;
  /** What it found, and the values of the stages before it. */
  reached?: ReadonlyMap<Stage, Value>;
  found?: Value;
}

export interface ReportStageOptions<I extends Inputs, Result> extends Described {
  readonly inputs: I;
  /** What it depends on besides the inputs and the seed. */
  readonly settings: unknown;
  /** By default nothing. */
  readonly expect?: Expect;
  make(inputs: ValuesOf<I>, context: StageContext & { readonly stage: StageWriter }): Promise<Result>;
  /** Whether the run may go on behind it; throws GateError where it may not. Asked on every run, also of a stored report. */
  gate?(result: Result, context: StageContext): void;
}

/** Anything to a document. */
export function reportStage<I extends Inputs, Result>(options: ReportStageOptions<I, Result>): Stage<Report<Result>> {
  const { kind, version, seed, inputs } = options;
  return {
    ...described(options, Object.values(inputs)),
    expect: options.expect ?? (() => nothing),
    async execute(context) {
      const values = mapValues(inputs, (stage) => context.value(stage)) as ValuesOf<I>;
      const hashes = mapValues(values as Record<string, Value>, ({ hash }) => hash);
      const identity = hashOf([kind, version, seed, hashes, options.settings]);
      const work = async (stage: StageWriter) => {
        stage.finish({ output: await options.make(values, { ...context, stage }) });
      };
      const info = await onStage(context, options, identity, work);
      const report: Report<Result> = { kind: "report", hash: hashOf(info.output), value: info.output as Result };
      try {
        options.gate?.(report.value, context);
      } catch (error) {
        if (error instanceof GateError) error.found = report;
        throw error;
      }
      return report;
    },
  };
}
