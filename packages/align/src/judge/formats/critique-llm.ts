import {
  type AbsoluteFormat,
  ask,
  type CritiqueFormat,
  instructionOf,
  type JudgeCase,
  type RelativeFormat,
  within,
} from "./format.ts";

/*
 * CritiqueLLM (2311.18702), called CriticLLM too: in Chinese; a kind of question in brackets, the question, the answers between marks of
 * their beginning and end. It has no place for a rubric. Where its publishers' evaluation counts an unreadable score as 5, it is none here.
 */

/** The kind of question, of its own list the most general one: open questions. */
const kind = "综合问答";
const sampling = { temperature: 0 };

const between = (name: string, text: string) => [`[${name}开始]`, text, `[${name}结束]`];
const question = ({ prompt, reference }: Pick<JudgeCase, "prompt" | "reference">) => [
  `[${kind}]`,
  `用户的提问：${instructionOf(prompt)}`,
  ...(reference === undefined ? [] : between("参考答案", reference)),
];

const scored = /综合得分['"’”]?\s*[:：]\s*['"‘“]?(\d{1,3}(?:\.\d{1,6})?)(?!\d|\.\d)/g;

/** An overall score from 0 to 10. */
export const critiqueLlmSingle: AbsoluteFormat = {
  mode: "absolute",
  range: [0, 10],
  rubric: false,
  images: "none",
  sampling,
  messages: ({ responses: [response], ...shown }) => ask(...question(shown), ...between("助手的答案", response)),
  read: (text) => within([...text.normalize("NFKC").matchAll(scored)].at(-1)?.[1], [0, 10]),
};

const compared = /综合比较结果['"’”]?\s*[:：]\s*['"‘“]?(助手\s*[12]|质量相当)(?!\d)(?!['"’”]?\s*[/、或])/g;

/** Assistant 1, assistant 2, or of equal quality. */
export const critiqueLlmPairwise: RelativeFormat = {
  mode: "relative",
  rubric: false,
  images: "none",
  sampling,
  messages: ({ responses: [a, b], ...shown }) =>
    ask(...question(shown), ...between("助手1的答案", a), ...between("助手2的答案", b)),
  read(text) {
    const said = [...text.matchAll(compared)].at(-1)?.[1];
    if (said === undefined) return undefined;
    return said === "质量相当" ? "tie" : said.endsWith("1") ? "A" : "B";
  },
};

/** Its criticism in words, as a critic of chains; the best score objects to nothing. */
export const critiqueLlmCritic: CritiqueFormat = {
  mode: "critique",
  rubric: false,
  images: "none",
  sampling,
  messages: critiqueLlmSingle.messages,
  read(text) {
    const words = text.trim();
    return /[\p{L}\p{N}]/u.test(words) ? { text: words, objects: critiqueLlmSingle.read(words) !== 10 } : undefined;
  },
};
