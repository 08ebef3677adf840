import { rowId } from "@tenet/data";
import type { LanguageModel, Message } from "@tenet/lm";
import type { Memo, StageCall } from "../ask.ts";
import {
  asAsked,
  askedHash,
  authorityWeight,
  type Constitution,
  constitutionHash,
  drawPrinciples,
  type Principle,
  principleHash,
} from "../constitution/index.ts";
import { type SampledLetters, verdicts } from "../judge/index.ts";
import { AskedOnce, type Batch } from "./asked-once.ts";
import { type Breach, breachesByChecks, type ReplyVerdict, worst } from "./verdict.ts";

/** A reply to be judged. */
export interface Reply {
  /** Of its prompt: replies to one prompt are judged under the same principles. */
  readonly id: string;
  readonly prompt: readonly Message[];
  /** The prompt's, where it has one. */
  readonly category?: string | undefined;
  readonly response: string;
}

export interface PanelOptions {
  readonly constitution: Constitution;
  /** Who looks: programs, the critic, or both, the worse of the two counting. */
  readonly by: "checks" | "critic" | "both";
  /** Principles that the critic is asked about: so many, drawn by weight for a prompt and a round, or all that have a weight. */
  readonly principles: "all" | number;
  readonly seed: number;
}

/** The critic that is asked, where one is. */
export interface CriticOptions {
  readonly critic: LanguageModel;
  /** What tells this critic from another. */
  readonly identity: string;
  readonly seed: number;
  readonly sampled?: SampledLetters | undefined;
  readonly memo?: Memo | undefined;
  /** Whether it runs here: see `AskedOnceOptions.together`. */
  readonly local: boolean;
}

interface Question {
  readonly reply: Reply;
  readonly principle: Principle;
}

/** A critic that is asked each question once. */
export type Critic = AskedOnce<Question>;

/** Asks a critic whether replies break principles, each distinct question once: conversation, reply and principle. */
export function criticOf({ critic, identity, seed, sampled, memo, local }: CriticOptions): Critic {
  return new AskedOnce<Question>({
    keyOf: ({ reply, principle }) => [
      "verdict",
      1,
      identity,
      principleHash(principle),
      reply.prompt,
      reply.response,
      sampled ?? null,
      // Answers of before defaults were asked with what lifts them are others.
      ...(asAsked(principle) === principle.text ? [] : [asAsked(principle)]),
    ],
    async *ask(questions, call) {
      const asked = questions.map(({ reply: { prompt, response }, principle }) => ({
        ...{ prompt, response, principle: asAsked(principle) },
      }));
      for await (const answer of verdicts(critic, asked, { seed, sampled }, call)) {
        const { request } = answer;
        if ("breaks" in answer) yield { request, value: answer.breaks };
        else yield { request, unanswered: "unread" in answer ? `critic: ${answer.unread}` : answer.refused };
      }
    },
    rowOf: ({ reply: { prompt, response }, principle: { id: principle } }, breaks) => ({
      id: rowId("verdict", [...prompt], response, principle, breaks),
      origin: { models: { critic: critic.id }, principles: [principle], parents: [] },
      ...{ prompt, response, principle, breaks },
    }),
    numberOf: (row) => (row as typeof row & { breaks: number }).breaks,
    memo,
    together: local,
  });
}

/**
 * What checks and critic find in replies under a constitution. A reply of which the critic did not answer a question has no verdict.
 * Errors: those of the critic.
 */
export async function judgeReplies(
  replies: readonly Reply[],
  { constitution, by, principles, seed }: PanelOptions,
  critic: Critic | undefined,
  batch: Batch,
  call: StageCall = {},
): Promise<ReplyVerdict[]> {
  const found = replies.map((reply): Breach[] => (by === "critic" ? [] : breachesByChecks(constitution, reply)));
  if (by === "checks") return found.map((breaches) => ({ breaches }));
  if (!critic) throw new TypeError(`verdicts by ${by} need a critic`);
  const weighty = constitution.principles.filter(({ weight }) => weight > 0);
  const asked = replies.flatMap((reply, of) => {
    const count = principles === "all" ? weighty.length : Math.min(principles, weighty.length);
    // Looks at the model compare it with what it was: under the same principles.
    const item = JSON.stringify([reply.id, Math.max(-1, batch.round)]);
    const drawn = principles === "all" ? weighty : drawPrinciples(constitution, { seed, stage: "reward", item, count });
    return drawn.map((principle) => ({ reply, principle, of }));
  });
  const answers = await critic.answers(asked, batch, call);
  const missing = new Map<number, string>();
  for (const [i, said] of answers.entries()) {
    const { of, principle } = asked[i]!;
    if (typeof said === "object") missing.set(of, said.unanswered);
    else {
      const { id, weight } = principle;
      const factor = authorityWeight(principle);
      found[of]!.push({ principle: id, weight, breaks: said, by: "critic", ...(factor !== 1 && { factor }) });
    }
  }
  return found.map((breaches, i) => {
    const unanswered = missing.get(i);
    return unanswered === undefined ? { breaches: worst(breaches) } : { unanswered };
  });
}

/** What verdicts depend on besides replies and critic. */
export function panelDependsOn({ constitution, by, principles }: PanelOptions): unknown {
  return [by === "checks" ? constitutionHash(constitution) : askedHash(constitution), by, principles];
}
