import { firstSentence } from "@tenet/data";
import type { Message } from "@tenet/lm";
import type { Demonstration, Principle } from "../constitution/index.ts";

/** The texts of a principle that a chain speaks. */
export type Requests = Pick<Principle, "critiqueRequest" | "revisionRequest">;

/** What stands between a response and its revision. */
export interface Draft {
  readonly response: string;
  /** Absent: the revision is asked for without one. */
  readonly critique?: string | undefined;
}

/**
 * How revisions are asked for. `turns`: the paper's dialogue; the response stands as the assistant's turn, critique and
 * revision are further turns. `quoted`: response, critique and request stand in the person's last turn, before what the person
 * said, so that the revision is itself the answer. `excerpt`: the same with only the first sentence of the response.
 * `afresh`: the same without the response, so that it bears on the revision through its critique alone; for models so small
 * that they copy whatever draft they read.
 */
export const layouts = ["turns", "quoted", "excerpt", "afresh"] as const;
export type Layout = (typeof layouts)[number];

/** The turns that ask for a critique of a response. */
export function critiqueTurns(
  { critiqueRequest }: Pick<Requests, "critiqueRequest">,
  conversation: readonly Message[],
  response: string,
): Message[] {
  return [...conversation, turn("assistant", response), turn("user", critiqueRequest)];
}

/** The turns that ask for a revision. */
export function revisionTurns(
  { critiqueRequest, revisionRequest }: Requests,
  conversation: readonly Message[],
  { response, critique }: Draft,
  layout: Layout,
): Message[] {
  if (layout === "turns") {
    const before =
      critique === undefined
        ? [...conversation, turn("assistant", response)]
        : [...critiqueTurns({ critiqueRequest }, conversation, response), turn("assistant", critique)];
    return [...before, turn("user", revisionRequest)];
  }
  const last = conversation.at(-1)!;
  const shown = { quoted: response, excerpt: firstSentence(response), afresh: undefined }[layout];
  const quoted = [shown === undefined ? undefined : `A poor answer: ${shown}`, critique, revisionRequest]
    .filter((part) => part !== undefined)
    .join("\n");
  return [...conversation.slice(0, -1), { ...last, content: `${quoted}\n\n${last.content}` }];
}

/** Those that are shown under a principle: what names principles is shown under these, what names none under all. */
export function demonstrationsUnder(demonstrations: readonly Demonstration[], principle: string): Demonstration[] {
  return demonstrations.filter(({ principles }) => principles === undefined || principles.includes(principle));
}

/** Demonstrations of critiques as turns. */
export function critiqueDemonstrations(demonstrations: readonly Demonstration[]): Message[] {
  return demonstrations.flatMap((demonstration) => [
    ...critiqueTurns(demonstration, demonstration.prompt, demonstration.response),
    turn("assistant", demonstration.critique),
  ]);
}

/** Demonstrations of revisions as turns, with their critiques or without. */
export function revisionDemonstrations(
  demonstrations: readonly Demonstration[],
  { layout, critiques }: { readonly layout: Layout; readonly critiques: boolean },
): Message[] {
  return demonstrations.flatMap((demonstration) => {
    const { prompt, response, critique, revision } = demonstration;
    const draft = { response, critique: critiques ? critique : undefined };
    return [...revisionTurns(demonstration, prompt, draft, layout), turn("assistant", revision)];
  });
}

function turn(role: Message["role"], content: string): Message {
  return { role, content };
}
