import { randomBytes } from "node:crypto";
import type { PreferenceRow } from "@tenet/data";
import type { RunInfo, StageInfo, Store } from "@tenet/runs";
import { type Constitution, runChecks, violations } from "../constitution/index.ts";
import { readingsOf } from "../feedback/index.ts";
import { type ReviewSpec, reviewSpecSchema, usualQuestion } from "./answers.ts";
import type { LabelOrder, Orderable } from "./order.ts";

/** The stages of a run whose rows are pairs with a label to learn from, the one that training took last. */
export function labelStages(store: Store, run: string): StageInfo[] {
  const plan = (store.lastEvent(run, "plan")?.data ?? []) as readonly PlannedInputs[];
  return store.stages(run).filter((stage) => isLearntFrom(stage, plan));
}

interface PlannedInputs {
  readonly stage: string;
  /** Runs of before did not say. */
  readonly inputs?: readonly string[];
}

const labelKinds = new Set(["label", "label-by-checks", "label-by-contrast", "label-by-people"]);

/** Whether a stage's labels are learnt from: those of an audit, and those to test on, are not. */
export function isLearntFrom(
  { name, kind }: { readonly name: string; readonly kind: string },
  plan: readonly PlannedInputs[] = [],
): boolean {
  if (kind === "human-labels") return true;
  if (!labelKinds.has(kind) || name === "known") return false;
  const fed = plan.filter(({ stage }) => stage.startsWith("human labels")).flatMap(({ inputs = [] }) => inputs);
  return fed.length > 0 ? fed.includes(name) : !/audit|validation/.test(name);
}

/** The pairs of a stage of labels, with what machine and checks say of them. */
export function orderable(store: Store, stage: StageInfo, constitution: Constitution | undefined): Orderable[] {
  return [...store.rows<PreferenceRow>(stage.identity)].map((row) => {
    const { id, prompt, a, b, p, label, category, explanation, origin } = row;
    const breaks = (response: string) =>
      constitution ? violations(runChecks(constitution, { prompt, response, category })).principles : [];
    return {
      row: origin.parents[0] ?? id,
      ...(label !== "human" && { p }),
      readings: readingsOf(explanation),
      ...(constitution && { broken: { a: breaks(a), b: breaks(b) } }),
    };
  });
}

/** Lays a queue out, in the store. @throws ZodError where an item would be asked of no one, or of more than five. */
export function makeQueue(
  store: Store,
  {
    run,
    stage,
    pairs,
    how,
    name,
    who,
    constitution,
    ...asked
  }: {
    readonly run: Pick<RunInfo, "id">;
    readonly stage: string;
    /** In the order in which they are given out, which is called `how`. */
    readonly pairs: readonly (Pick<Orderable, "row"> & {
      /** Which reply is known to be better: asked to see who judges, and taught to nobody. */
      readonly gold?: string;
    })[];
    readonly how: LabelOrder;
    readonly name: string;
    readonly who: string;
    readonly constitution?: Constitution | undefined;
  } & Partial<Pick<ReviewSpec, "overlap" | "guidelines" | "question">>,
): { readonly id: string; readonly items: number } {
  const items = pairs.map(({ row, gold }) => ({ row, ...(gold !== undefined && { gold }) }));
  const spec = reviewSpecSchema.parse({
    ...{ run: run.id, stage, how, overlap: 1, guidelines: "", question: usualQuestion },
    ...asked,
    reasons: reasonsOf(constitution),
  } satisfies ReviewSpec);
  const id = `${slug(name)}-${randomBytes(3).toString("hex")}`;
  store.addQueue({ id, name, spec, items, who });
  return { id, items: items.length };
}

/** Principles that a judgement may name as its reason: as many as there are keys. */
export function reasonsOf(constitution: Constitution | undefined): string[] {
  return (constitution?.principles ?? []).slice(0, 9).map(({ id }) => id);
}

const slug = (name: string) =>
  name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .slice(0, 40)
    .replaceAll(/^-+|-+$/g, "") || "queue";
