import { letterOf, readReply } from "@tenet/lm";

/** What somebody who was asked for (A) or (B) said: one of them, or that there is nothing between them. */
export type Answer = "A" | "B" | "tie";

const thing = "(?:[Oo]ption|[Rr]esponse|[Rr]eply|[Aa]nswer|[Aa]ssistant|[Cc]andidate)";
const letter = "[(\\[{]*([AB])(?![\\w'’])[)\\]}]*";
const tie = "tie|draw|equal";

/** "The answer is: (B)", "Verdict: A", "[[B]]", "\boxed{A}": where there are several, the last word counts. */
const declared = new RegExp(
  `\\b(?:[Aa]nswer|[Vv]erdict|[Cc]hoice|[Dd]ecision|[Pp]reference|[Ww]inner|[Cc]onclusion|[Jj]udge?ment)\\b(?:\\s+\\w+){0,2}?\\s*(?:[:=→]|\\bis\\b|\\bwould be\\b)+[\\s:]*(?:a |the )?(?:${thing}\\s+)?(?:${letter}|(${tie})\\b)|\\[\\[(?:([AB])|(C|${tie}))\\]\\]|\\\\boxed\\{\\(?([AB])\\)?\\}`,
  "g",
);
/** "I prefer option A", "(B) is clearly better": where they are not of one mind, nothing was said. */
const preferred = new RegExp(
  `(?<!\\b(?:not|never|n['’]t)\\s+(?:\\w+\\s+)?)\\b(?:choose|chose|pick|prefer|select|favou?r|go with|vote for|recommend)\\s+(?:the\\s+)?(?:${thing}\\s+)?${letter}|(?<!\\b(?:not|nor|than)\\s+(?:${thing}\\s+)?)${letter}\\s+(?:is|was|seems|appears|would be|sounds|remains)\\s+(?:(?:clearly|the|slightly|much|far|somewhat|overall|by far|definitely|generally|a bit)\\s+){0,3}(?:better|best|preferable|preferred|superior|stronger|winner)\\b`,
  "g",
);
/** What takes back what a clause says behind it: "I don't think A is better", "it is hard to say whether B is". */
const doubted =
  /(?:\b(?:not|never|cannot)|n['’]t)\s+(?:\w+\s+)?(?:think|believe|say|claim|call|agree|find|feel|see|know|judge|tell|decide|conclude|mean|consider|sure|certain|clear|convinced|that)\b|(?:\b(?:not|never|cannot|unable to)|n['’]t)\s+(?:\w+\s+)?$|\b(?:whether|unable|unsure|unclear|hard|difficult|impossible)\b/i;
/** The clause that a text ends in. */
const clause = /(?:[^.!?;,:\n]|[.:](?=\S))*$/;
/** Words that begin another clause. */
const joints = /\b(?:but|so|because|since|while|whereas|therefore|thus|hence|and|yet|then)\b/gi;
/** The other letter beside one: "A or B". */
const other =
  /^\s*(?:\/|\bor\b|\band\b)\s*[([]*(?:\w+\s+)?[AB]\b(?!\s+(?:is|was|are|seems|appears|remains|would|has|does|sounds)\b)/;
/** A question that the letter ends, or nearly. */
const asked = /^(?:\s+(?!because|since|as)\w+){0,3}\s*\?/;
/** "(B)", "B.", "Option A:", "A because …" at the very beginning. */
const leading = new RegExp(
  `^(?:${thing}\\s+)?[(\\[{]*([AB])(?:[)\\]}]+|[.:,;!](?!\\w)|\\s*[-–—]|\\s*$|\\s*\\n|(?=\\s+(?:because|since|as)\\b))`,
  "i",
);
const said = new RegExp(
  `\\b(?:(?:it is|it['’]s|this is|a|call it) (?:a )?(?:tie|draw)\\b|^(?:tie|draw)\\b|equally (?:good|bad|helpful|harmless|kind|safe|well|valid)|both (?:are|${thing}s are) (?:equal|equally|the same)|(?:no|isn['’]t any|not any) (?:clear |real |meaningful )?(?:difference|preference)|neither (?:one |${thing} )?is (?:any )?better)`,
  "i",
);

/**
 * The answer in a text, whoever was asked and however it is written: " A", "(A)", "**A**", "Answer: B", "Option B", "Ａ", a sentence
 * that says which is better, or the words of a short option itself. Undefined where none can be told: that is no answer, and no tie
 * either.
 *
 * @example
 * readAnswer("I think the better answer is **(B)**."); // "B"
 * readAnswer("I cannot judge this."); // undefined
 */
export function readAnswer(text: string, options: readonly [string, string] = ["", ""]): Answer | undefined {
  const plain = readReply(text)
    .text.normalize("NFKC")
    .replaceAll(/[*_`#"“”«»]+/g, "")
    .trim();
  const bare = letterOf(plain) ?? /^[([]?([ab])[)\]]?[.:]?$/.exec(plain)?.[1]?.toUpperCase();
  if (bare === "A" || bare === "B") return bare;
  if (bare !== undefined && !plain.startsWith("[[")) return undefined;
  const word = plain.toLowerCase().replace(/[.!]+$/, "");
  if (word === "tie" || word === "draw") return "tie";
  const byWords = optionIn(plain, options);
  if (byWords !== undefined) return byWords;

  const last = [...plain.matchAll(declared)].at(-1);
  if (last && isOpen(plain, last)) return undefined;
  if (last) return (last.slice(1).find((group) => group === "A" || group === "B") as Answer | undefined) ?? "tie";
  const meant = [...plain.matchAll(preferred)].filter((match) => !isOpen(plain, match));
  const liked = new Set(meant.map((match) => (match[1] ?? match[2]) as Answer));
  if (liked.size > 0) return liked.size === 1 ? [...liked][0] : undefined;
  const first = leading.exec(plain)?.[1]?.toUpperCase();
  if ((first === "A" || first === "B") && !takenUp(plain, first === "A" ? "B" : "A")) return first;
  return said.test(plain) ? "tie" : undefined;
}

/** Whether a match names a letter and does not settle on it: its clause takes it back, asks, or names the other one beside it. */
function isOpen(text: string, { 0: found, index }: RegExpExecArray): boolean {
  if (/^(?:\[\[|\\boxed)/.test(found)) return false;
  const behind = text.slice(index + found.length);
  const before = clause.exec(text.slice(0, index).replaceAll(joints, ","))![0];
  return doubted.test(before) || other.test(behind) || asked.test(behind);
}

/** Whether a text goes on to the other option, as one does that looks at each in turn. */
function takenUp(text: string, other: "A" | "B"): boolean {
  return new RegExp(`(?:\\n|[.!?]\\s+)(?:${thing}\\s+)?[(\\[{]*${other}[)\\]}.:]`, "i").test(text);
}

/** The option that a text repeats, or begins with where both are single words, such as yes and no. */
function optionIn(text: string, options: readonly [string, string]): Answer | undefined {
  const [a, b] = options.map((option) => formOf(option)) as [string, string];
  if (a === "" || b === "" || a === b) return undefined;
  const form = formOf(text);
  const single = !a.includes(" ") && !b.includes(" ");
  const is = (option: string) => form === option || (single && form.startsWith(`${option} `));
  return is(a) ? "A" : is(b) ? "B" : undefined;
}

function formOf(text: string): string {
  return text
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{M}\p{N}]+/gu, " ")
    .trim();
}
