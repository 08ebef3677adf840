import type { Message } from "@tenet/data";
import type { TextCodec } from "../text/index.ts";
import { renderChat } from "../text/template.ts";

export interface ModelfileOptions {
  /** The GGUF file beside it. */
  readonly model: string;
  readonly chatTemplate: string | undefined;
  readonly text: TextCodec;
  /** Texts of tokens that the template may name: `bos_token`, `eos_token` … */
  readonly variables: Readonly<Record<string, string>>;
  /** Whether the model's file lets a beginning-of-text token be put before prompts: it is then left out of the template. */
  readonly addsBos: boolean;
}

/**
 * Ollama's `Modelfile`: the file, its chat template in Go's language, its system turn and its stops.
 *
 * The template is told from what the model's own makes of conversations, and only where turns put side by side give the same text;
 * else none is written, a comment says why, and Ollama takes what it makes of the file's metadata.
 * Source: https://github.com/ollama/ollama/blob/main/docs/modelfile.md
 */
export function modelfile(options: ModelfileOptions): string {
  const { model, text } = options;
  const lines = [`FROM ./${model}`];
  const turns = options.chatTemplate === undefined ? undefined : turnsOf(options.chatTemplate, options);
  if (turns) {
    lines.push(`TEMPLATE ${quoted(goTemplate(turns))}`);
    if (turns.defaultSystem !== undefined) lines.push(`SYSTEM ${quoted(turns.defaultSystem)}`);
  } else if (options.chatTemplate !== undefined) {
    lines.push(
      "# The chat template does more than put turns side by side: Ollama uses what it makes of the one in the file.",
    );
  }
  for (const id of text.endIds) lines.push(`PARAMETER stop ${JSON.stringify(text.tokenText(id))}`);
  return `${lines.join("\n")}\n`;
}

/** What stands before and behind the content of each role's turn, and before a reply. */
interface Turns {
  readonly roles: Readonly<Record<Message["role"], { readonly before: string; readonly behind: string }>>;
  readonly reply: string;
  /** The system turn of a conversation that has none. */
  readonly defaultSystem: string | undefined;
}

const [system, user, assistant] = ["⟪system⟫", "⟪user⟫", "⟪assistant⟫"];
const conversations: readonly (readonly Message[])[] = [
  [{ role: "user", content: user }],
  [
    { role: "system", content: system },
    { role: "user", content: user },
  ],
  [
    { role: "system", content: system },
    { role: "user", content: user },
    { role: "assistant", content: assistant },
    { role: "user", content: `${user} again` },
  ],
  [
    { role: "user", content: user },
    { role: "assistant", content: assistant },
    { role: "user", content: `${user} again` },
    { role: "assistant", content: `${assistant} again` },
    { role: "user", content: `${user} at last` },
  ],
];

/** The turns that a template puts side by side; undefined where it does more. */
function turnsOf(template: string, { variables, addsBos, text }: ModelfileOptions): Turns | undefined {
  const render = (messages: readonly Message[]) => {
    const text = renderChat(template, messages, { variables: { ...variables }, addGenerationPrompt: true });
    const bos = variables.bos_token;
    return addsBos && bos !== undefined && text.startsWith(bos) ? text.slice(bos.length) : text;
  };
  let texts: string[];
  try {
    texts = conversations.map(render);
  } catch {
    return undefined; // it refuses one of them
  }
  const [short, withSystem, long] = texts as [string, string, string, string];
  const parts = long.split(/(⟪\w+⟫(?: again)?)/);
  if (parts.length !== 9) return undefined;
  const [head, , toUser, , toAssistant, , toLast, , reply] = parts as string[];
  // Where one turn ends and the next begins: an assistant's ends as a reply's opening tells.
  const opening = withSystem.slice(withSystem.indexOf(user) + user.length);
  if (reply !== opening) return undefined;
  // The text between two turns is cut where the opening of a reply begins.
  const marks = [...text.endIds].map((id) => text.tokenText(id));
  for (const cut of cuts(opening, marks)) {
    const behindUser = opening.slice(0, cut);
    const beforeAssistant = opening.slice(cut);
    if (toAssistant !== behindUser + beforeAssistant) continue;
    for (const end of cuts(toUser!, marks)) {
      const turns: Turns = {
        roles: {
          system: { before: head!, behind: toUser!.slice(0, end) },
          user: { before: toUser!.slice(end), behind: behindUser },
          assistant: { before: beforeAssistant, behind: toLast!.slice(0, toLast!.length - (toUser!.length - end)) },
        },
        reply: beforeAssistant,
        defaultSystem: undefined,
      };
      const whole = withDefault(turns, short);
      if (whole && texts.every((text, i) => join(whole, conversations[i]!) === text)) return whole;
    }
  }
  return undefined;
}

/** Where a text may be cut: behind a mark that ends a turn and its white space first, as people cut it. */
function cuts(text: string, marks: readonly string[]): number[] {
  const behind = marks.flatMap((mark) => {
    const at = text.indexOf(mark);
    return at < 0 ? [] : [text.length - text.slice(at + mark.length).trimStart().length];
  });
  return [...behind, ...Array.from({ length: text.length + 1 }, (_, cut) => cut)];
}

/** With the system turn that the template writes by itself, if it writes one. */
function withDefault(turns: Turns, short: string): Turns | undefined {
  const { before, behind } = turns.roles.system;
  const rest = join(turns, conversations[0]!);
  if (short === rest) return turns;
  if (!short.endsWith(rest) || !short.startsWith(before)) return undefined;
  const turn = short.slice(0, short.length - rest.length);
  if (!turn.endsWith(behind) || turn.length < before.length + behind.length) return undefined;
  return { ...turns, defaultSystem: turn.slice(before.length, turn.length - behind.length) };
}

function join({ roles, reply, defaultSystem }: Turns, messages: readonly Message[]): string {
  const own: readonly Message[] =
    defaultSystem === undefined || messages[0]!.role === "system"
      ? messages
      : [{ role: "system", content: defaultSystem }, ...messages];
  return own.map(({ role, content }) => roles[role].before + content + roles[role].behind).join("") + reply;
}

function goTemplate({ roles, reply }: Turns): string {
  const branches = Object.entries(roles).map(
    ([role, { before, behind }], i) =>
      `{{ ${i === 0 ? "if" : "else if"} eq .Role "${role}" }}${escaped(before)}{{ .Content }}${escaped(behind)}`,
  );
  return `{{ range .Messages }}${branches.join("")}{{ end }}{{ end }}${escaped(reply)}`;
}

/** Text as a Go template writes it out as it stands. */
function escaped(text: string): string {
  return text.replaceAll("{{", '{{ "{{" }}');
}

function quoted(text: string): string {
  return `"""${text.replaceAll('"""', '\\"\\"\\"')}"""`;
}
