import { randomStream } from "@tenet/data";
import { compilePattern } from "./pattern.ts";

/** Repetitions of what may be repeated without end, in a sample. */
const most = 2;

/**
 * Texts that a pattern matches, made of the pattern itself: alternatives and repetitions are drawn by the seed, optional parts that are
 * named `not` left out. What it cannot make (look-around of words, classes by property beyond a few) is tried and checked: only texts
 * that match are given, so that an empty list says "none was found" and nothing of the pattern.
 */
export function patternSamples(
  pattern: string,
  { seed, count }: { readonly seed: number; readonly count: number },
): string[] {
  const compiled = compilePattern(pattern);
  const found = new Set<string>();
  for (let sample = 0; sample < 8 * count && found.size < count; sample++) {
    const stream = randomStream({ seed, stage: "pattern-sample", item: pattern, sample });
    let place = 0;
    const made = new Sampler(pattern, (n) => stream.integer(place++, n)).alternatives();
    // A word before and behind, where the pattern wants the edge of one.
    for (const text of [made, `${made} `, ` ${made}`, `a ${made} a`, `${made}.`, `. ${made}`])
      if (compiled.test(text)) {
        found.add(text);
        break;
      }
  }
  return [...found];
}

const classes: Record<string, string> = { d: "7", w: "a", s: " ", D: "x", W: " ", S: "x" };

const ends: Record<string, string> = { n: "\n", r: "\r", t: "\t" };

/** Writes a text by walking the pattern's syntax. */
class Sampler {
  readonly #pattern: string;
  readonly #draw: (n: number) => number;
  #at = 0;

  constructor(pattern: string, draw: (n: number) => number) {
    this.#pattern = pattern;
    this.#draw = draw;
  }

  alternatives(): string {
    const options = [this.#sequence()];
    while (this.#pattern[this.#at] === "|") {
      this.#at++;
      options.push(this.#sequence());
    }
    return options[this.#draw(options.length)]!;
  }

  #sequence(): string {
    let text = "";
    while (this.#at < this.#pattern.length && this.#pattern[this.#at] !== "|" && this.#pattern[this.#at] !== ")") {
      const from = this.#at;
      const one = this.#atom();
      const times = this.#times(one.never);
      text += one.text.repeat(times);
      if (this.#at === from) this.#at++;
    }
    return text;
  }

  #atom(): { text: string; never?: boolean } {
    const character = this.#pattern[this.#at++]!;
    if (character === "(") return this.#group();
    if (character === "[") return { text: this.#class() };
    if (character === ".") return { text: "x" };
    if (character === "^" || character === "$") return { text: "" };
    if (character !== "\\") return { text: character };
    const escaped = this.#pattern[this.#at++] ?? "";
    if (escaped === "b" || escaped === "B" || escaped === "A" || escaped === "z") return { text: "" };
    if (escaped === "p" || escaped === "P") {
      this.#at = this.#pattern[this.#at] === "{" ? this.#pattern.indexOf("}", this.#at) + 1 : this.#at + 1;
      return { text: escaped === "p" ? "a" : " " };
    }
    return { text: classes[escaped] ?? ends[escaped] ?? escaped };
  }

  #group(): { text: string; never?: boolean } {
    let never = false;
    if (this.#pattern[this.#at] === "?") {
      const head = /^\?(?:P?<([^>]*)>|[a-zA-Z]*(?:-[a-zA-Z]+)?:?)/.exec(this.#pattern.slice(this.#at));
      this.#at += head?.[0].length ?? 1;
      never = head?.[1] === "not";
      // Flags alone, as in (?m).
      if (this.#pattern[this.#at] === ")" && head?.[1] === undefined) {
        this.#at++;
        return { text: "" };
      }
    }
    const text = this.alternatives();
    if (this.#pattern[this.#at] === ")") this.#at++;
    return { text, never };
  }

  #class(): string {
    const negated = this.#pattern[this.#at] === "^";
    if (negated) this.#at++;
    const members: string[] = [];
    let first = true;
    while (this.#at < this.#pattern.length && (first || this.#pattern[this.#at] !== "]")) {
      first = false;
      if (this.#pattern.startsWith("[:", this.#at)) {
        this.#at = this.#pattern.indexOf(":]", this.#at) + 2;
        members.push("a");
        continue;
      }
      const character = this.#pattern[this.#at++]!;
      if (character !== "\\") members.push(character);
      else {
        const escaped = this.#pattern[this.#at++] ?? "";
        if (escaped === "p" && this.#pattern[this.#at] === "{") {
          this.#at = this.#pattern.indexOf("}", this.#at) + 1;
          members.push("a");
        } else members.push(classes[escaped] ?? ends[escaped] ?? escaped);
      }
      if (this.#pattern[this.#at] === "-" && this.#pattern[this.#at + 1] !== "]") this.#at += 2;
    }
    this.#at++;
    if (!negated) return members[this.#draw(members.length)] ?? "";
    // A space first: what stands around such a class often wants the edge of a word.
    return [" ", "x", "7", ".", "q"].find((character) => !members.includes(character)) ?? "x";
  }

  /** How often what stands before is repeated. */
  #times(never = false): number {
    const quantifier = /^(?:([*+?])|\{(\d+)(,(\d*))?\})\??/.exec(this.#pattern.slice(this.#at));
    if (!quantifier) return 1;
    this.#at += quantifier[0].length;
    const [, sign, low, range, high] = quantifier;
    const least = sign === "+" ? 1 : low === undefined ? 0 : Number(low);
    const last =
      sign === "?" ? 1 : low === undefined || (range !== undefined && high === "") ? least + most : Number(high ?? low);
    if (never && least === 0) return 0;
    return least + this.#draw(Math.max(1, Math.min(last, least + most) - least + 1));
  }
}
