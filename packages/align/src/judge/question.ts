import { imagesOf, shownWith } from "@tenet/data";
import type { Capabilities, Message, Prompt } from "@tenet/lm";
import { z } from "zod";

/*
 * The multiple-choice question of METHODS §3: conversation, principle's question, both responses as options, and the letter
 * read off as a log-probability. What all questions of a run share comes first, so that an engine computes it once.
 */

/** A question with its answer, for the labeller to imitate. */
export const labelDemonstrationSchema = z.strictObject({
  prompt: z.string().min(1).describe("What the person says."),
  question: z.string().min(1).describe("Which of the responses is better, and in which respect."),
  better: z.string().min(1).describe("The response that the answer names."),
  worse: z.string().min(1).describe("The other response."),
  reasoning: z.string().min(1).optional().describe("Why, for labellers that reason before they answer."),
});
export type LabelDemonstration = z.output<typeof labelDemonstrationSchema>;

/** A file of them; the right answers stand on (A) and on (B) in turn. */
export const labelDemonstrationsSchema = z
  .array(labelDemonstrationSchema)
  .min(1)
  .refine(({ length }) => length % 2 === 0, {
    error: "expected an even number of demonstrations, so that as many right answers stand on (A) as on (B)",
  });

export interface Question {
  readonly prompt: readonly Message[];
  readonly question: string;
  /** Texts of options (A) and (B). */
  readonly options: readonly [string, string];
}

export interface AskingWay {
  /** Conversation by the model's chat format, or the same as plain text. */
  readonly chat: boolean;
  /** Whether the reply can be begun for the model. */
  readonly prefill: boolean;
}

/** How a model is asked, from what it can do: by its chat format unless only raw text gives log-probabilities. */
export function askingWay({ score, chat, prefill }: Capabilities): AskingWay {
  if (score.chat !== "none" || (score.raw === "none" && chat)) return { chat: true, prefill };
  return { chat: false, prefill: true };
}

/** The letters whose log-probabilities are compared. Single tokens in every vocabulary in use, behind "(" as behind a turn's start. */
export const letters = ["A", "B"] as const;

/** Demonstrations with the right answer on (A) and on (B) in turn, so that neither letter is the likelier one. */
export function demonstrationTurns(
  demonstrations: readonly LabelDemonstration[],
  { reasoning }: { readonly reasoning: boolean },
): Message[] {
  return demonstrations.flatMap((demonstration, i): Message[] => {
    const { prompt, question, better, worse } = demonstration;
    const first = i % 2 === 0;
    const options = first ? ([better, worse] as const) : ([worse, better] as const);
    const why = reasoning && demonstration.reasoning !== undefined ? `${demonstration.reasoning}\n\n` : "";
    return [
      { role: "user", content: questionText({ prompt: [{ role: "user", content: prompt }], question, options }) },
      { role: "assistant", content: `${why}${answerOpening}${letters[first ? 0 : 1]})` },
    ];
  });
}

const answerOpening = "The answer is: (";
const roles = { system: "System", user: "Human", assistant: "Assistant" } as const;

/** The words of a question. */
function questionText({ prompt, question, options }: Question): string {
  const turns = prompt.map(({ role, content }) => `${roles[role]}: ${content}`);
  return [
    "Consider this conversation between a person and an assistant:",
    ...turns,
    `${question} Answer with the letter of the option.`,
    `Options:\n(A) ${options[0]}\n(B) ${options[1]}`,
  ].join("\n\n");
}

/** The prompt behind which the letters are scored; `reasoning` is what the labeller thought before. */
export function choicePrompt(
  shared: readonly Message[],
  question: Question,
  given: AskingWay,
  reasoning?: string | undefined,
): Prompt {
  const way = seeing(given, question);
  const user: Message = { role: "user", content: questionText(question), ...shownWith(question.prompt) };
  const thought = reasoning === undefined ? "" : `${reasoning}\n\n`;
  if (way.prefill) return render([...shared, user, { role: "assistant", content: `${thought}${answerOpening}` }], way);
  const closing = "The answer, A or B, is:";
  if (reasoning === undefined) return render([...shared, { ...user, content: `${user.content}\n\n${closing}` }], way);
  return render([...shared, user, { role: "assistant", content: reasoning }, { role: "user", content: closing }], way);
}

/** The prompt that asks for the reasoning alone. */
export function reasoningPrompt(shared: readonly Message[], question: Question, given: AskingWay): Prompt {
  const way = seeing(given, question);
  const content = `${questionText(question)}\n\nThe answer comes last. First say, step by step, what speaks for each option.`;
  return render([...shared, { role: "user", content, ...shownWith(question.prompt) }], way);
}

/** Where reasoning ends: the labeller goes on to its answer, which is read separately. */
export const reasoningStop = "The answer is";

/** Raw text shows no image: who is shown one is asked in a conversation, whatever its texts are asked in. */
function seeing(way: AskingWay, { prompt }: Question): AskingWay {
  return way.chat || imagesOf(prompt).length === 0 ? way : { chat: true, prefill: false };
}

function render(messages: readonly Message[], { chat }: AskingWay): Prompt {
  if (chat) return [...messages];
  const turns = messages.map(({ role, content }) => `${roles[role]}: ${content}`);
  return `${turns.join("\n\n")}${messages.at(-1)!.role === "assistant" ? "" : "\n\nAssistant:"}`;
}
