import { imagesOf, type Outcome, type PromptRow, plainJson, randomStream, rowId } from "@tenet/data";
import type { LanguageModel, Message } from "@tenet/lm";
import { z } from "zod";
import { generateEach, type StageCall } from "../ask.ts";
import { withSystem } from "./respond.ts";
import { samplingFields } from "./sampling.ts";

/** How dialogues are held. The defaults are written here only. */
export const dialogueSettingsSchema = z.strictObject({
  turns: z
    .int()
    .min(2)
    .default(3)
    .describe("Turns of the person, the prompt being the first; fewer where the person is done."),
  share: z
    .number()
    .gt(0)
    .max(1)
    .default(1)
    .describe("Of the prompts, drawn by the seed, that dialogues go on from; the others stay as they are."),
  sampling: samplingFields({ temperature: 1, maxTokens: 128 }).describe("Sampling of every turn."),
});
export type DialogueSettings = z.output<typeof dialogueSettingsSchema>;

/** Who speaks for the person: what the model is told of them. */
export const personasSchema = z.array(z.string().trim().min(1)).min(1);

export interface DialogueOptions {
  readonly settings: DialogueSettings;
  readonly assistant: LanguageModel;
  /** Speaks for the person. */
  readonly person: LanguageModel;
  /** Cards, of which each dialogue draws one. */
  readonly personas: readonly string[];
  readonly seed: number;
}

/** What the dialogue of a prompt depends on besides the prompt, the models and the seed. */
export function dialogueDependsOn(
  row: PromptRow,
  { settings, personas, seed }: Omit<DialogueOptions, "assistant" | "person">,
) {
  return plainJson({ settings, persona: cardFor(row, { settings, personas, seed }) ?? null });
}

/** What a person says who has nothing left to say. */
const over = "[END]";

/**
 * Dialogues between two models, from prompts on: the assistant replies, the person's model, told who it is, goes on, and so forth. Every
 * turn of the person is a prompt: the conversation up to it.
 *
 * All dialogues advance turn by turn in one batch, and each is a function of its prompt, its persona and the seed, whatever else is in the
 * batch. A dialogue ends where the person is done, or where a turn is empty or cut: what was said before it stays. One that a model cannot
 * take is set aside. Errors: those of `LanguageModel.generate`.
 */
export async function* dialogues(
  rows: readonly PromptRow[],
  { settings, assistant, person, personas, seed }: DialogueOptions,
  call: StageCall = {},
): AsyncGenerator<Outcome<PromptRow>> {
  const held = rows.map((row): Dialogue => {
    return {
      row,
      card: cardFor(row, { settings, personas, seed }),
      said: [...row.prompt],
      prefixes: [],
      aside:
        imagesOf(row.prompt).length > 0
          ? "the prompt shows an image, and the person's model is given the person's turns as its own, which show none"
          : undefined,
      done: false,
    };
  });
  const speak = async (model: LanguageModel, role: "assistant" | "person", turn: number, open: readonly Dialogue[]) => {
    const requests = open.map(({ row, card, said }) => ({
      prompt: role === "assistant" ? [...said] : seenByPerson(said, card!),
      sampling: { ...settings.sampling, seed },
      key: `dialogue:${row.id}:${turn}:${role}`,
    }));
    for await (const answer of generateEach(model, requests, call)) {
      const dialogue = open[answer.request]!;
      if ("refused" in answer) {
        dialogue.aside = `${role}: ${answer.refused}`;
        continue;
      }
      const { text, finishReason } = answer.value[0]!;
      const ended = role === "person" && text.includes(over);
      const words = text.split(over)[0]!.trim();
      if (words === "" || finishReason !== "stop") {
        dialogue.done = true;
        continue;
      }
      dialogue.said.push({ role: role === "assistant" ? "assistant" : "user", content: words });
      if (role === "person") dialogue.prefixes.push([...dialogue.said]);
      dialogue.done = ended;
    }
  };
  for (let turn = 1; turn < settings.turns; turn++) {
    const going = () => held.filter(({ card, done, aside }) => card !== undefined && !done && aside === undefined);
    await speak(assistant, "assistant", turn, going());
    await speak(person, "person", turn, going());
  }
  const models = { assistant: assistant.id, person: person.id };
  for (const { row, card, prefixes, aside } of held) {
    const later = prefixes.map(
      (prompt): PromptRow => ({
        id: rowId("prompt", prompt),
        prompt,
        ...(row.category === undefined ? {} : { category: row.category }),
        origin: { ...row.origin, models, seed, parents: [row.id] },
      }),
    );
    yield card !== undefined && aside !== undefined
      ? { input: row.id, rows: [], aside }
      : { input: row.id, rows: [row, ...later] };
  }
}

interface Dialogue {
  readonly row: PromptRow;
  /** Absent where the prompt stays as it is. */
  readonly card: string | undefined;
  readonly said: Message[];
  /** The conversation up to each further turn of the person. */
  readonly prefixes: Message[][];
  aside: string | undefined;
  done: boolean;
}

/** The persona of a prompt's dialogue, where it has one. */
function cardFor({ id }: PromptRow, { settings, personas, seed }: Omit<DialogueOptions, "assistant" | "person">) {
  const stream = randomStream({ seed, stage: "dialogue", item: id });
  return stream.uniform(0) < settings.share ? personas[stream.integer(1, personas.length)] : undefined;
}

/** The conversation with the roles exchanged: the person's words are the model's own, and the assistant speaks to it. */
function seenByPerson(said: readonly Message[], card: string): Message[] {
  const turns = said
    .filter(({ role }) => role !== "system")
    .map(({ role, content }): Message => ({ role: role === "user" ? "assistant" : "user", content }));
  const told = `You are a person who writes to an assistant, and never the assistant. ${card} Say only what this person says next, in a sentence or two. When you have what you came for, say ${over}.`;
  // A template wants a user's turn first.
  return withSystem([{ role: "user", content: "How can I help you?" }, ...turns], told);
}
