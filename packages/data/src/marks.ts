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
  const found: Mark[] = [];
  const before = new Before(text);
  for (const { 0: mark, index } of text.matchAll(marks)) {
    before.goOn(index);
    const struck = mark === "</s>" && before.strikes();
    if (mark === "</s>") before.closed = index;
    if (!before.insideCode() && !struck) found.push({ text: mark, index });
  }
  return found;
}

/** What stands before a place of a text that only moves forwards: read once, however many marks there are. */
class Before {
  readonly #text: string;
  /** Of what is no white space. */
  readonly #first: number;
  #at = 0;
  #fences = 0;
  /** Backticks of the line so far that are no fences. */
  #ticks = 0;
  #opened = -1;
  /** Where the last `</s>` stood. */
  closed = -1;

  constructor(text: string) {
    this.#text = text;
    this.#first = text.search(/\S/);
  }

  goOn(index: number): void {
    const text = this.#text;
    while (this.#at < index) {
      const at = this.#at;
      if (text.startsWith("```", at) && at + 3 <= index) {
        this.#fences++;
        this.#at += 3;
        continue;
      }
      if (text[at] === "`") this.#ticks++;
      else if (text[at] === "\n") this.#ticks = 0;
      else if (text.startsWith("<s>", at)) this.#opened = at;
      this.#at++;
    }
  }

  /** Between backticks that close. */
  insideCode(): boolean {
    if (this.#fences % 2 === 1) return true;
    if (this.#ticks % 2 === 0) return false;
    const [tick, end] = [this.#text.indexOf("`", this.#at), this.#text.indexOf("\n", this.#at)];
    return tick >= 0 && (end < 0 || tick < end);
  }

  /** Behind `<s>` within the text, which is what a browser strikes out; at its beginning it is Llama's. */
  strikes(): boolean {
    return this.#opened > this.#first && this.closed < this.#opened;
  }
}
