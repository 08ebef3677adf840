import { spelledMarks } from "@tenet/data";
import type { Completion, CompletionToken, LanguageModel } from "./types.ts";

/*
 * What a model sent is not yet its reply: thoughts stand before it, control tokens of a template that a server does not know stand
 * around it, and the next turn may follow. This is the one step between the two, for every role.
 */

/** What was taken off: `thoughts` before the reply, the `header` of its own turn, a `mark` of its end with what followed. */
export type ReplyEdit = "thoughts" | "header" | "mark";

export interface ReadReply {
  /** The reply: text[start, end) of what was sent. */
  readonly text: string;
  readonly start: number;
  readonly end: number;
  /** Absent where there are none. */
  readonly thoughts?: string;
  readonly edits: readonly ReplyEdit[];
}

/** How thoughts begin and end, in the families in use. */
const thoughtForms: readonly { open: RegExp; close: RegExp }[] = [
  ...["think", "thinking", "thought", "thoughts", "reasoning", "seed:think"].map((tag) => ({
    open: new RegExp(`^\\s*<${tag}>`, "i"),
    close: new RegExp(`</${tag}>`, "i"),
  })),
  { open: /^\s*\[THINK\]/, close: /\[\/THINK\]/ },
  { open: /^\s*◁think▷/, close: /◁\/think▷/ },
  { open: /^\s*<\|(?:START_THINKING|begin_of_thought)\|>/, close: /<\|(?:END_THINKING|end_of_thought)\|>/ },
  // gpt-oss: the channel of its thoughts, with its control tokens and without.
  { open: /^\s*<\|channel\|>(?:analysis|commentary)[^<]{0,40}<\|message\|>/, close: /<\|end\|>/ },
  { open: /^analysis(?=[\s\S]*assistantfinal)/, close: /assistantfinal/ },
];

/** Where a template opened the thoughts in the prompt, they only close in the reply. */
const closings = /<\/(?:think|thinking|reasoning|seed:think)>|\[\/THINK\]|◁\/think▷/i;

/** The header of the reply's own turn, and what may stand before it. */
const headers = [
  /^\s*(?:<s>|<bos>|<\|(?:begin_of_text|startoftext|BOS_TOKEN)\|>|<｜begin▁of▁sentence｜>)/,
  /^\s*<\|im_start\|>\s*(?:assistant\b)?/,
  /^\s*<\|start_header_id\|>\s*assistant\s*<\|end_header_id\|>/,
  /^\s*<start_of_turn>\s*(?:model|assistant)\b/,
  /^\s*<\|start_of_role\|>\s*assistant\s*<\|end_of_role\|>/,
  /^\s*<\|start\|>\s*assistant\b/,
  /^\s*<\|channel\|>\s*final\s*<\|message\|>/,
  /^\s*(?:<\|assistant\|>|<｜Assistant｜>|<\|CHATBOT_TOKEN\|>|<\|START_RESPONSE\|>|\[\|assistant\|\]|\[\/INST\])/,
  // The same where a server leaves the control tokens out and the words in.
  /^\s*assistant\n\n?(?=\S)/,
];

/** The next turn's header where a server leaves the control tokens out: a role alone on its line, or glued to a sentence's end. */
const bareHeader = /(?<=[.!?…"”)\]])(?:\s*\n)?(?:assistant|user)\n/;

/**
 * What was sent, as a reply.
 *
 * @example
 * readReply("<think>A cold?</think>\n\nRest.<|im_end|>").text; // "Rest."
 */
export function readReply(sent: string): ReadReply {
  const edits = new Set<ReplyEdit>();
  const thoughts: string[] = [];
  let start = 0;
  /** Takes off headers and thoughts at the beginning, as long as there are some. */
  const strip = () => {
    for (;;) {
      const rest = sent.slice(start);
      const header = headers.map((pattern) => pattern.exec(rest)?.[0]).find((found) => found !== undefined);
      if (header !== undefined) {
        edits.add("header");
        start += header.length;
        continue;
      }
      const form = thoughtForms.find(({ open }) => open.test(rest));
      if (!form) return;
      const opening = form.open.exec(rest)![0].length;
      const close = form.close.exec(rest.slice(opening));
      edits.add("thoughts");
      thoughts.push((close ? rest.slice(opening, opening + close.index) : rest.slice(opening)).trim());
      start = close ? start + opening + close.index + close[0].length : sent.length;
    }
  };
  strip();
  const closing = closings.exec(sent.slice(start));
  if (closing && !insideBackticks(sent, start + closing.index)) {
    edits.add("thoughts");
    thoughts.push(sent.slice(start, start + closing.index).trim());
    start += closing.index + closing[0].length;
    strip();
  }
  let end = sent.length;
  const ends = [spelledMarks(sent.slice(start))[0]?.index, bareHeader.exec(sent.slice(start))?.index];
  const mark = ends.filter((at) => at !== undefined).sort((a, b) => a - b)[0];
  if (mark !== undefined) {
    edits.add("mark");
    end = start + mark;
  }
  // White space goes with what it set off.
  if (start > 0) start += /^\s*/.exec(sent.slice(start, end))![0].length;
  if (mark !== undefined) end = start + sent.slice(start, end).trimEnd().length;
  return {
    text: sent.slice(start, end),
    start,
    end,
    edits: [...edits],
    ...(edits.has("thoughts") ? { thoughts: thoughts.join("\n\n") } : {}),
  };
}

function insideBackticks(text: string, at: number): boolean {
  return text[at - 1] === "`" && text.slice(at).includes("`");
}

/** Why a reply has no text, for the person who reads what was set aside. */
export function whyEmpty({ thoughts, finishReason, usage }: Completion): string {
  if (thoughts === undefined) return "empty";
  return finishReason === "length"
    ? `empty: all of its ${usage.completionTokens} tokens went into thinking. Allow more (maxTokens), or switch thinking off`
    : "empty: the model thought and then said nothing";
}

const sentences: Record<ReplyEdit, string> = {
  thoughts: "thoughts stood in the reply and were taken off",
  header: "the header of its turn stood in the reply and was taken off",
  mark: "an end mark stood in the reply; it and what followed were cut off",
};

/** The notice for replies that are nothing but thoughts. */
export const thoughtAway =
  "the reply is empty: its tokens went into thinking; allow more (maxTokens), or switch thinking off";

/**
 * The same model, whose completions are replies: without thoughts, headers and end marks. What was taken off is counted among
 * the notices of `usage()`. Pieces of text that are streamed are as they were sent.
 */
export function asReplies(model: LanguageModel): LanguageModel {
  const counts: Record<string, number> = {};
  const count = (notice: string) => {
    counts[notice] = (counts[notice] ?? 0) + 1;
  };
  return {
    get id() {
      return model.id;
    },
    capabilities: (options) => model.capabilities(options),
    async *generate(requests, options) {
      for await (const { request, completion } of model.generate(requests, options)) {
        const { completion: reply, edits } = toReply(completion);
        for (const edit of edits) count(sentences[edit]);
        if (reply.text === "" && reply.thoughts !== undefined) count(thoughtAway);
        yield { request, completion: reply };
      }
    },
    score: (requests, options) => model.score(requests, options),
    usage() {
      const { notices = {}, ...totals } = model.usage();
      const all = { ...notices, ...counts };
      return Object.keys(all).length > 0 ? { ...totals, notices: all } : totals;
    },
    close: () => model.close(),
  };
}

/** A completion as a reply, its tokens cut as its text is. */
function toReply(completion: Completion): { completion: Completion; edits: readonly ReplyEdit[] } {
  const { text, start, end, thoughts, edits } = readReply(completion.text);
  if (edits.length === 0) return { completion, edits };
  const { tokens } = completion;
  const all = [completion.thoughts, thoughts].filter((one) => one !== undefined && one !== "");
  const reply: Completion = { ...completion, text };
  if (tokens) reply.tokens = tokensBetween(tokens, start, end);
  if (thoughts !== undefined) reply.thoughts = all.join("\n\n");
  return { completion: reply, edits };
}

/** The tokens that lie in a stretch of the text that they make together, wholly or in part. */
export function tokensBetween<T extends Pick<CompletionToken, "text">>(
  tokens: readonly T[],
  start: number,
  end: number,
): T[] {
  let before = 0;
  return tokens.filter(({ text }) => {
    const from = before;
    before += text.length;
    return before > start && from < end;
  });
}
