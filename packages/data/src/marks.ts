/*
 * The control tokens of chat templates, spelt out as text. In text that comes from a server they are leaks: the end of the turn, the
 * header of the next one. In a dataset they say that a row was rendered before.
 */

/** Of the families in use: ChatML, Llama 2 and 3, Gemma, Phi, Zephyr, Mistral, DeepSeek, Command, Granite, GLM, EXAONE, gpt-oss. */
const marks =
  /<[|｜][A-Za-z0-9_▁-]{1,40}[|｜]>|<(?:start|end)_of_turn>|<\/s>|<(?:bos|eos|eod|eoa|pad)>|\[\/?INST\]|<<\/?SYS>>|\[\|[A-Za-z]{1,20}\|\]/g;

export interface Mark {
  /** As it stands there. */
  readonly text: string;
  readonly index: number;
}

/**
 * The control tokens that a text spells out, in order. Those in code, between backticks, are talked about and no marks; nor is
 * `</s>` behind `<s>`, which is struck-out text.
 *
 * @example
 * spelledMarks("See a doctor.<|eot_id|>").map(({ text }) => text); // ["<|eot_id|>"]
 */
export function spelledMarks(text: string): Mark[] {
  const found = [...text.matchAll(marks)].map((match): Mark => ({ text: match[0], index: match.index }));
  return found.filter(({ text: mark, index }) => !inCode(text, index) && !(mark === "</s>" && strikes(text, index)));
}

/** Whether an even place of a text lies between backticks that close. */
function inCode(text: string, index: number): boolean {
  const before = text.slice(0, index);
  const fences = before.split("```").length - 1;
  if (fences % 2 === 1) return true;
  const line = before.slice(before.lastIndexOf("\n") + 1).replaceAll("```", "");
  const rest = text.slice(index).split("\n", 1)[0]!;
  return (line.split("`").length - 1) % 2 === 1 && rest.includes("`");
}

function strikes(text: string, index: number): boolean {
  const opening = text.lastIndexOf("<s>", index);
  return opening > text.search(/\S/) && text.lastIndexOf("</s>", index - 1) < opening;
}
