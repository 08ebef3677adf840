import { type ChainRow, type JsonValue, type Outcome, plainJson, type ResponseRow, rowId } from "@tenet/data";
import type { GenerateRequest, LanguageModel, Message } from "@tenet/lm";
import type { z } from "zod";
import { generateEach, type StageCall } from "../ask.ts";
import {
  type Constitution,
  constitutionHash,
  type Demonstration,
  drawPrinciples,
  type Principle,
} from "../constitution/index.ts";
import { critiqueFormats, rubricOf } from "../judge/index.ts";
import { Chain } from "./chain.ts";
import { type CritiqueSettings, critiqueSettingsSchema, heedsChecks } from "./critique-settings.ts";
import {
  critiqueDemonstrations,
  critiqueTurns,
  demonstrationsUnder,
  revisionDemonstrations,
  revisionTurns,
} from "./demonstrations.ts";
import { checkedHashes } from "./examples.ts";
import { withSystem } from "./respond.ts";

export interface CritiqueOptions extends z.input<typeof critiqueSettingsSchema> {
  readonly constitution: Constitution;
  /** Asked for critiques when `critiques` is "model". */
  readonly critic: LanguageModel;
  readonly reviser: LanguageModel;
  readonly demonstrations?: readonly Demonstration[];
  readonly seed: number;
}

/** What the chain of a row depends on besides the row, the models and the seed: of the constitution, what it drew and the checks that judge it. */
export function critiqueDependsOn(row: ResponseRow, options: Omit<CritiqueOptions, "critic" | "reviser">): JsonValue {
  const { settings, constitution, demonstrations, seed } = resolve(options);
  return plainJson({
    settings,
    demonstrations,
    principles: drawFor(row, constitution, settings, seed).map(({ id, critiqueRequest, revisionRequest }) => {
      return {
        id,
        critique: settings.critiques === "model" && settings.format === undefined ? critiqueRequest : null,
        revision: revisionRequest,
      };
    }),
    checks: heedsChecks(settings) ? checkedHashes(constitution) : [],
    // Chains made when checks took the next drawn principle are others.
    ...(settings.critiques === "checks" && { order: "gravest first" }),
  });
}

/**
 * Critique–revision chains: yⁱ⁺¹ ~ π(·|x, yⁱ, kᵢ, revision request of cᵢ), kᵢ ~ π(·|x, yⁱ, critique request of cᵢ). METHODS §2.
 *
 * Rows go round by round together, so that a local engine decodes large batches; each row has its own randomness, and none
 * depends on its neighbours. Yields a row's chain as soon as its last round is final. A revision replaces the response
 * before it unless it has a fault (`revisionFault`) or the checks veto it; then `rejected` says why and the chain goes on
 * from the response it had. A critique that the service withheld, or an empty one, makes a round without a revision. A row
 * whose request a model cannot take is set aside.
 * Errors: those of `LanguageModel.generate`; z.ZodError for settings out of range; ConstitutionError when there is nothing to
 * draw.
 */
export async function* critiqueAndRevise(
  rows: readonly ResponseRow[],
  options: CritiqueOptions,
  call: StageCall = {},
): AsyncGenerator<Outcome<ChainRow>> {
  const { settings, constitution, demonstrations, seed } = resolve(options);
  const { critic, reviser } = options;
  const { topLogprobs } = await reviser.capabilities(call.signal ? { signal: call.signal } : {});
  const ask = { settings, demonstrations, seed, ranked: settings.candidates > 1 && topLogprobs !== null };
  const origin = originOf(options, settings);
  let open = rows.map((row) => new Chain(row, drawFor(row, constitution, settings, seed), constitution, settings));

  while (open.length > 0) {
    const revising: Chain[] = [];
    const begun = open.filter((chain) => !chain.over && chain.begin());
    if (settings.critiques === "model") {
      const requests = begun.map((chain) => critiqueRequest(chain, ask));
      for await (const answer of generateEach(critic, requests, call)) {
        const chain = begun[answer.request]!;
        if (chain.takeCritique(answer)) revising.push(chain);
      }
    } else revising.push(...begun);
    for (const chain of open) if (chain.over) yield outcomeOf(chain, origin);
    open = open.filter((chain) => !chain.over);

    const requests = revising.map((chain) => revisionRequest(chain, ask));
    for await (const answer of generateEach(reviser, requests, call)) {
      const chain = revising[answer.request]!;
      chain.takeRevision(answer, demonstrations);
      if (!chain.over) continue;
      yield outcomeOf(chain, origin);
      open = open.filter((other) => other !== chain);
    }
  }
}

interface Ask {
  readonly settings: CritiqueSettings;
  readonly demonstrations: readonly Demonstration[];
  readonly seed: number;
  /** Whether candidates come with the log-probabilities of their tokens. */
  readonly ranked: boolean;
}

function critiqueRequest(chain: Chain, { settings, demonstrations, seed }: Ask): GenerateRequest {
  const key = `critique:${chain.row.id}:${chain.rounds.length}`;
  const sampling = { ...settings.critique, seed };
  if (settings.format !== undefined) {
    const shown = { prompt: chain.row.prompt, responses: [chain.response] as const, rubric: rubricOf(chain.principle) };
    return { prompt: critiqueFormats[settings.format].messages(shown), sampling, key };
  }
  const [system, conversation] = splitSystem(chain.row.prompt, settings.system);
  return {
    prompt: [
      ...system,
      ...critiqueDemonstrations(demonstrationsUnder(demonstrations, chain.principle.id)),
      ...critiqueTurns(chain.principle, conversation, chain.response),
    ],
    sampling,
    key,
  };
}

function revisionRequest(chain: Chain, { settings, demonstrations, seed, ranked }: Ask): GenerateRequest {
  const { layout, candidates, critiques } = settings;
  const [system, conversation] = splitSystem(chain.row.prompt, settings.system);
  const { response, critique } = chain;
  return {
    prompt: [
      ...system,
      ...revisionDemonstrations(demonstrationsUnder(demonstrations, chain.principle.id), {
        layout,
        critiques: critiques !== "none",
      }),
      ...revisionTurns(chain.principle, conversation, { response, critique }, layout),
    ],
    sampling: { ...settings.revision, seed, n: candidates, ...(ranked ? { logprobs: 0 } : {}) },
    key: `revise:${chain.row.id}:${chain.rounds.length}`,
  };
}

/** The system turn, which stands before the demonstrations, and the rest. */
function splitSystem(prompt: readonly Message[], system: string | undefined): [Message[], Message[]] {
  const whole = withSystem(prompt, system);
  return whole[0]?.role === "system" ? [[whole[0]], whole.slice(1)] : [[], whole];
}

function originOf({ critic, reviser, constitution, seed }: CritiqueOptions, { critiques }: CritiqueSettings) {
  return {
    models: { ...(critiques === "model" ? { critic: critic.id } : {}), reviser: reviser.id },
    constitution: constitutionHash(constitution),
    seed,
  };
}

function outcomeOf({ row, responses, rounds, aside }: Chain, origin: ReturnType<typeof originOf>): Outcome<ChainRow> {
  const { id, prompt, category, benign } = row;
  if (aside !== undefined) return { input: id, rows: [], aside };
  const chain: ChainRow = {
    id: rowId("chain", id, responses, JSON.stringify(rounds)),
    prompt,
    responses,
    rounds,
    ...(responses.length === 1 && row.finishReason === "length" ? { cut: true as const } : {}),
    ...(category === undefined ? {} : { category }),
    ...(benign === undefined ? {} : { benign }),
    origin: {
      ...row.origin,
      ...origin,
      models: { ...row.origin.models, ...origin.models },
      principles: rounds.map(({ principle }) => principle),
      parents: [id],
    },
  };
  return { input: id, rows: [chain] };
}

/** Principles in the order of the rounds; where checks choose among them, all that have checks. */
function drawFor(row: ResponseRow, constitution: Constitution, settings: CritiqueSettings, seed: number): Principle[] {
  const draw = { seed, stage: "critique", item: row.id, use: "revision" } as const;
  if (settings.critiques !== "checks") return drawPrinciples(constitution, { ...draw, count: settings.rounds });
  const checked = {
    ...constitution,
    principles: constitution.principles.filter(
      ({ checks, use, weight }) => checks.length > 0 && use !== "preference" && weight > 0,
    ),
  };
  return drawPrinciples(checked, { ...draw, count: checked.principles.length });
}

type Partly = Omit<CritiqueOptions, "critic" | "reviser"> & Partial<CritiqueOptions>;

function resolve({ constitution, critic: _, reviser: __, seed, demonstrations = [], ...settings }: Partly) {
  return { constitution, seed, demonstrations, settings: critiqueSettingsSchema.parse(settings) };
}
