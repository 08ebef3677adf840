/*
 * `\b` in RE2 is a border between an ASCII word character and anything else. Beside a letter of another alphabet there is none, so
 * that `\b医生\b` and `\bécole` match nothing that anybody writes.
 */

/** What a piece of a pattern can begin or end with: the letters outside ASCII that are written there, or `other`. */
interface Piece {
  readonly firsts: ReadonlySet<string>;
  readonly lasts: ReadonlySet<string>;
  /** It may match nothing, so that what stands around it is beside each other. */
  readonly optional: boolean;
  /** It matches nothing, by the letter beside its border. */
  readonly dead?: string | undefined;
}

const other = "";
const nothing: Piece = { firsts: new Set(), lasts: new Set(), optional: true };
const anything: Piece = { firsts: new Set([other]), lasts: new Set([other]), optional: false };

/**
 * The letter outside ASCII beside which a pattern has `\b`, so that all of it matches nothing; undefined where some of it may. The
 * pattern is one that RE2 takes.
 */
export function letterAtBorder(pattern: string): string | undefined {
  return new Reader(pattern).alternatives().dead;
}

class Reader {
  readonly #characters: readonly string[];
  #at = 0;

  constructor(pattern: string) {
    this.#characters = [...pattern];
  }

  /** Up to the parenthesis that closes the group, or to the end. */
  alternatives(): Piece {
    const pieces = [this.#sequence()];
    while (this.#characters[this.#at] === "|") {
      this.#at++;
      pieces.push(this.#sequence());
    }
    const alive = pieces.some(({ dead }) => dead === undefined);
    return {
      dead: alive ? undefined : pieces[0]!.dead,
      firsts: new Set(pieces.flatMap(({ firsts }) => [...firsts])),
      lasts: new Set(pieces.flatMap(({ lasts }) => [...lasts])),
      optional: pieces.some(({ optional }) => optional),
    };
  }

  #sequence(): Piece {
    let whole = nothing;
    let border = false;
    for (;;) {
      const next = this.#characters[this.#at];
      if (next === undefined || next === "|" || next === ")") return whole;
      if (next === "\\" && this.#characters[this.#at + 1] === "b") {
        this.#at += 2;
        border = true;
        whole = { ...whole, dead: whole.dead ?? (whole.optional ? undefined : onlyLetter(whole.lasts)) };
        continue;
      }
      const piece = this.#repeated(this.#piece());
      const beside = border && !piece.optional ? onlyLetter(piece.firsts) : undefined;
      border &&= piece.optional;
      whole = {
        dead: whole.dead ?? (piece.optional ? undefined : piece.dead) ?? beside,
        firsts: whole.optional ? new Set([...whole.firsts, ...piece.firsts]) : whole.firsts,
        lasts: piece.optional ? new Set([...whole.lasts, ...piece.lasts]) : piece.lasts,
        optional: whole.optional && piece.optional,
      };
    }
  }

  #piece(): Piece {
    const character = this.#characters[this.#at++]!;
    if (character === "(") return this.#group();
    if (character === "[") return this.#set();
    if (character === "\\") return this.#escape();
    if (character === "^" || character === "$") return nothing;
    return character === "." ? anything : letter(character);
  }

  #group(): Piece {
    const head = /^\?(?:P?<[^>]*>|[a-zA-Z-]*:|[a-zA-Z-]*(?=\)))/.exec(
      this.#characters.slice(this.#at, this.#at + 80).join(""),
    );
    this.#at += head ? [...head[0]].length : 0;
    const piece = this.alternatives();
    this.#at++;
    return piece;
  }

  /** A set of characters matters where all of them are letters outside ASCII. */
  #set(): Piece {
    const characters = this.#characters;
    let inside = "";
    if (characters[this.#at] === "^") inside += characters[this.#at++];
    do {
      if (characters[this.#at] === "\\") inside += characters[this.#at++];
      inside += characters[this.#at++];
    } while (this.#at < characters.length && characters[this.#at] !== "]");
    this.#at++;
    const members = [...inside.replaceAll("-", "")];
    const letters = members.map((member) => [...letter(member).firsts]);
    return letters.every(([first]) => first !== other) ? letter(members[0]!) : anything;
  }

  #escape(): Piece {
    const kind = this.#characters[this.#at++];
    if (kind === "A" || kind === "z" || kind === "B") return nothing;
    const open = this.#characters[this.#at] === "{";
    if ((kind === "p" || kind === "P" || kind === "x") && open) while (this.#characters[this.#at++] !== "}");
    else if (kind === "p" || kind === "P") this.#at++;
    else if (kind === "x") this.#at += 2;
    return anything;
  }

  /** A piece with what says how often it stands there. */
  #repeated(piece: Piece): Piece {
    let optional = piece.optional;
    for (;;) {
      const next = this.#characters[this.#at];
      const count =
        next === "{" ? /^\{(\d+)(?:,\d*)?\}/.exec(this.#characters.slice(this.#at, this.#at + 20).join("")) : null;
      if (next === "?" || next === "*" || next === "+") this.#at++;
      else if (count) this.#at += count[0].length;
      else return { ...piece, optional };
      optional ||= next === "?" || next === "*" || count?.[1] === "0";
    }
  }
}

function letter(character: string): Piece {
  if (!/[\p{L}\p{M}]/u.test(character) || character < "\u0080") return anything;
  return { firsts: new Set([character]), lasts: new Set([character]), optional: false };
}

/** One of the letters, where there is nothing else. */
function onlyLetter(characters: ReadonlySet<string>): string | undefined {
  return characters.has(other) ? undefined : [...characters][0];
}
