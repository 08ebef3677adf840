import {
  type ChainRow,
  type ExampleRow,
  type JsonValue,
  type Outcome,
  plainJson,
  type ResponseRow,
  rowId,
  withReasoning,
} from "@tenet/data";
import { z } from "zod";
import { type Constitution, checkReward, principleHash, runChecks, violations } from "../constitution/index.ts";
import { type DeliberateSettings, reasonedByChecks } from "./deliberate.ts";
import { degenerate } from "./revision.ts";

/** What of a chain is learnt. The defaults are written here only. */
export const examplesSettingsSchema = z.strictObject({
  from: z
    .enum(["final", "every-revision", "critique-and-revision"])
    .default("final")
    .describe(
      "`final`: (x, yⁿ); `every-revision`: (x, yⁱ) for every i ≥ 1, as the paper does; `critique-and-revision`: the tuple (x, k, y), as one completion: the critique that the last accepted revision answers, then that revision.",
    ),
  keep: z
    .enum(["all", "checks-pass", "improved"])
    .default("all")
    .describe(
      "`checks-pass`: only responses in which the constitution's checks find nothing; `improved`: those too, and responses that the checks value above the first one.",
    ),
  unchanged: z
    .enum(["skip", "keep"])
    .default("skip")
    .describe("Chains without an accepted revision teach the model what it says anyway: left out, or kept."),
});
export type ExamplesSettings = z.output<typeof examplesSettingsSchema>;

export interface ExamplesOptions extends z.input<typeof examplesSettingsSchema> {
  readonly constitution: Constitution;
  /** Reasoning by checks before each reply (`reasonedByChecks`); a reply without any is left out. */
  readonly deliberate?: Pick<DeliberateSettings, "principles"> | undefined;
}

/**
 * Completions to learn from chains. METHODS §2, §6.
 *
 * Yields one outcome per chain; a chain that gives no example is set aside with its reason. Without an accepted revision a
 * chain has none under `unchanged: "skip"`; under "keep" its first response is the example, if `keep` lets it pass; one that a limit cut is learnt without an end.
 */
export async function* examplesFromChains(
  chains: readonly ChainRow[],
  { constitution, deliberate, ...rest }: ExamplesOptions,
): AsyncGenerator<Outcome<ExampleRow>> {
  const settings = examplesSettingsSchema.parse(rest);
  for (const chain of chains) yield exampleOutcome(chain, constitution, settings, deliberate);
}

/** What the examples of a chain depend on besides the chain. */
export function examplesDependsOn(_chain: ChainRow, { constitution, deliberate, ...rest }: ExamplesOptions): JsonValue {
  const settings = examplesSettingsSchema.parse(rest);
  const checks = settings.keep === "all" && deliberate === undefined ? [] : checkedHashes(constitution);
  return plainJson({ settings, checks, ...(deliberate && { deliberate: deliberate.principles }) });
}

function exampleOutcome(
  chain: ChainRow,
  constitution: Constitution,
  settings: ExamplesSettings,
  deliberate: ExamplesOptions["deliberate"],
): Outcome<ExampleRow> {
  const { id, prompt, responses, origin, category } = chain;
  const aside = (why: string): Outcome<ExampleRow> => ({ input: id, rows: [], aside: why });
  const revised = responses.length > 1;
  if (!revised && settings.unchanged === "skip") return aside("no revision was accepted");
  if (!revised && settings.from === "critique-and-revision") return aside("no revision was accepted");

  const judge = (response: string) => {
    const results = runChecks(constitution, { prompt, response, category });
    return { passed: violations(results).violated.length === 0, worth: checkReward(constitution, results) };
  };
  const before = settings.keep === "improved" ? judge(responses[0]!).worth : 0;
  const passes = (response: string) => {
    if (settings.keep === "all") return true;
    const { passed, worth } = judge(response);
    return passed || (settings.keep === "improved" && worth > before);
  };
  const first = revised ? 1 : 0;
  const chosen = settings.from === "every-revision" ? responses.slice(first) : responses.slice(-1);
  const completions = chosen.filter(passes);
  if (completions.length === 0)
    return aside(settings.keep === "improved" ? "no improvement by the checks" : "the checks find violations");

  const reasoned = completions.flatMap((response) => {
    if (deliberate === undefined) return [response];
    const reasoning = reasonedByChecks(constitution, { prompt, response, category }, deliberate);
    return reasoning === undefined ? [] : [withReasoning(reasoning, response)];
  });
  if (reasoned.length === 0) return aside("the checks have no reason to give: none applies, or the reply breaks one");
  const critique = settings.from === "critique-and-revision" ? lastCritique(chain) : undefined;
  if (critique === "") return aside("the accepted revision has no critique");
  return {
    input: id,
    rows: [...new Set(reasoned)].map((response): ExampleRow => {
      const completion = critique === undefined ? response : `${critique}\n\n${response}`;
      return exampleOf({ prompt, completion, cut: chain.cut }, { ...origin, parents: [id] });
    }),
  };
}

/**
 * Completions to learn from replies as they are: of the model itself to prompts that have nothing to do with the constitution,
 * they keep it what it was. METHODS §2.
 *
 * A reply is learnt behind its reasoning, where it has some. One that the length limit cut is learnt as far as it goes and without an end
 * (`cut`), so that the model does not learn to stop there; one that is no text is set aside with the reason. Yields one outcome per reply.
 */
export async function* examplesFromResponses(rows: readonly ResponseRow[]): AsyncGenerator<Outcome<ExampleRow>> {
  for (const { id, prompt, response, reasoning, finishReason, origin } of rows) {
    const cut = finishReason === "length";
    const fault = response === "" ? "the reply is empty" : degenerate(response);
    if (fault !== undefined) yield { input: id, rows: [], aside: fault };
    else {
      const completion = withReasoning(reasoning, response);
      yield { input: id, rows: [exampleOf({ prompt, completion, cut }, { ...origin, parents: [id] })] };
    }
  }
}

function exampleOf(
  {
    prompt,
    completion,
    cut = false,
  }: Pick<ExampleRow, "prompt" | "completion"> & { readonly cut?: boolean | undefined },
  origin: ExampleRow["origin"],
): ExampleRow {
  const id = rowId("example", prompt, completion, ...(cut ? ["cut"] : []));
  return { id, prompt, completion, weight: 1, ...(cut && { cut: true as const }), origin };
}

/** The critique that the last accepted revision answers. */
function lastCritique({ rounds }: ChainRow): string {
  return rounds.findLast(({ revision, rejected }) => revision !== undefined && rejected === undefined)!.critique;
}

/** Hashes of the principles that have checks. */
export function checkedHashes({ principles }: Constitution): string[] {
  return principles.filter(({ checks }) => checks.length > 0).map(principleHash);
}
