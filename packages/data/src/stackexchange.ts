import { appendFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DataFile } from "./bytes.ts";
import { readBytes } from "./bytes.ts";
import { DatasetError, excerptOf } from "./errors.ts";
import { htmlToText } from "./html.ts";
import { readLines } from "./lines.ts";
import { type Answer, type Post, type Question, readPosts } from "./posts.ts";
import { randomStream } from "./random.ts";
import type { Read } from "./read.ts";
import type { Kinds } from "./records.ts";
import { type PreferenceRow, type PromptRow, rowId } from "./rows.ts";

export interface StackExchangeOptions {
  /** At most so many pairs of answers to one question, drawn by its id; 10 by default, as answers come in hundreds on some. */
  readonly pairsPerQuestion?: number;
  /** Posts held in memory together, in bytes; more are sorted into files first. 64 MiB by default. */
  readonly memory?: number;
  /** Where those files are put, about as many bytes as the dump has; the system's temporary folder by default. */
  readonly temporary?: string;
}

/**
 * The score by which answers are ranked: round(log₂(1 + votes)), +1 if accepted; −1 in place of the logarithm if the votes are
 * negative. METHODS §4; Askell et al., arXiv 2112.00861, appendix. A dump holds up-votes less down-votes, so these are its votes.
 *
 * @example
 * answerScore({ votes: 6, accepted: true }); // 4
 * answerScore({ votes: -3, accepted: false }); // -1
 */
export function answerScore({ votes, accepted }: { readonly votes: number; readonly accepted: boolean }): number {
  return (votes < 0 ? -1 : Math.round(Math.log2(1 + votes))) + (accepted ? 1 : 0);
}

/** Rows of a dump: every question as a prompt, or pairs of answers to one question, the one of the higher score as `a`. */
export async function* readStackExchange<As extends keyof Kinds>(
  file: DataFile,
  as: As,
  options: StackExchangeOptions & { readonly maxRecordBytes: number },
): AsyncGenerator<Read<Kinds[As]>> {
  const { pairsPerQuestion = 10, memory = 2 ** 26, temporary = tmpdir(), maxRecordBytes } = options;
  if (as !== "prompts" && as !== "preferences")
    throw new DatasetError(
      `${file.path} is a StackExchange dump; expected as "prompts" or "preferences", got "${as}".`,
    );
  const posts = readPosts(file, maxRecordBytes);
  const rows =
    as === "prompts" ? prompts(file, posts) : preferences(file, posts, { pairsPerQuestion, memory, temporary });
  // Of the two generators each yields the rows of its own `as`, which TypeScript does not follow through the type parameter.
  yield* rows as AsyncGenerator<Read<Kinds[As]>>;
}

async function* prompts(file: DataFile, posts: AsyncIterable<Read<Post>>): AsyncGenerator<Read<PromptRow>> {
  for await (const post of posts) {
    if (!("row" in post)) yield post;
    else if (post.row.kind === "question") {
      const prompt = promptOf(post.row);
      const source = `${file.name}#${post.row.id}`;
      yield { row: { id: rowId("prompt", prompt), origin: { source, parents: [] }, prompt } };
    }
  }
}

/** A question with the answers found for it. */
interface Thread {
  question: Question | undefined;
  readonly answers: Answer[];
}

/**
 * Answers may stand anywhere in the file, before their question too, so posts are sorted by question: in memory when the dump is small, otherwise
 * into files each of which fits, one of which is in memory at a time.
 */
async function* preferences(
  file: DataFile,
  posts: AsyncIterable<Read<Post>>,
  { pairsPerQuestion, memory, temporary }: Required<StackExchangeOptions>,
): AsyncGenerator<Read<PreferenceRow>> {
  // Text compresses about five times.
  const count = Math.min(1024, Math.ceil((file.size * (file.gzip ? 5 : 1)) / memory));
  const folder = count > 1 ? await mkdtemp(join(temporary, "tenet-posts-")) : undefined;
  try {
    const buckets = new Buckets(folder, count, memory);
    for await (const post of posts)
      if ("row" in post) await buckets.add(post.row);
      else yield post;
    for (let i = 0; i < count; i++) {
      const threads = new Map<number, Thread>();
      for await (const post of buckets.posts(i)) {
        const key = post.kind === "question" ? post.id : post.question;
        const thread = threads.get(key) ?? { question: undefined, answers: [] };
        threads.set(key, thread);
        if (post.kind === "question") thread.question = post;
        else thread.answers.push(post);
      }
      for (const thread of threads.values()) yield* pairsOf(thread, file.name, pairsPerQuestion);
    }
  } finally {
    if (folder) await rm(folder, { recursive: true, force: true });
  }
}

class Buckets {
  readonly #folder: string | undefined;
  readonly #posts: Post[][];
  readonly #bytes: number[];
  readonly #flushAt: number;

  constructor(folder: string | undefined, count: number, memory: number) {
    this.#folder = folder;
    this.#posts = Array.from({ length: count }, () => []);
    this.#bytes = new Array<number>(count).fill(0);
    this.#flushAt = memory / count;
  }

  async add(post: Post): Promise<void> {
    const i = (post.kind === "question" ? post.id : post.question) % this.#posts.length;
    this.#posts[i]!.push(post);
    this.#bytes[i]! += 2 * post.body.length;
    if (this.#folder && this.#bytes[i]! > this.#flushAt) await this.#flush(i);
  }

  async *posts(i: number): AsyncGenerator<Post> {
    if (!this.#folder) return yield* this.#posts[i]!;
    await this.#flush(i);
    const path = join(this.#folder, String(i));
    const lines = readLines(readBytes({ path, name: String(i), size: 0, gzip: false }), Number.POSITIVE_INFINITY);
    for await (const line of lines) if ("text" in line) yield JSON.parse(line.text) as Post;
  }

  async #flush(i: number): Promise<void> {
    await appendFile(
      join(this.#folder!, String(i)),
      this.#posts[i]!.map((post) => `${JSON.stringify(post)}\n`).join(""),
    );
    this.#posts[i] = [];
    this.#bytes[i] = 0;
  }
}

function* pairsOf({ question, answers }: Thread, name: string, most: number): Generator<Read<PreferenceRow>> {
  if (!question) {
    for (const answer of answers) {
      const reason = `an answer to question ${answer.question}, which the file does not hold`;
      yield { aside: { source: `${name}#${answer.id}`, reason, excerpt: excerptOf(answer.body) } };
    }
    return;
  }
  const scored = answers.map(({ id, votes, body }) => {
    const accepted = id === question.acceptedAnswer;
    return { id, votes, body, accepted, score: answerScore({ votes, accepted }) };
  });
  const pairs = scored.flatMap((one, i) => scored.slice(i + 1).map((other) => [one, other] as const));
  const ranked = pairs.filter(([one, other]) => one.score !== other.score); // ties say nothing
  const prompt = promptOf(question);
  for (const [one, other] of drawn(ranked, most, question.id)) {
    const [better, worse] = one.score > other.score ? [one, other] : [other, one];
    const source = `${name}#${better.id},${worse.id}`;
    const [a, b] = [htmlToText(better.body), htmlToText(worse.body)];
    if (a === "" || b === "" || a === b) {
      const reason = a === b ? "both answers have the same text" : "an answer has no text";
      yield { aside: { source, reason, excerpt: excerptOf(better.body) } };
      continue;
    }
    const explanation = [better, worse].map(({ id, votes, accepted, score }) => ({
      answer: id,
      votes,
      accepted,
      score,
    }));
    const id = rowId("preference", prompt, a, b, 1, "ranking");
    yield {
      row: { id, origin: { source, parents: [] }, prompt, a, b, p: 1, weight: 1, label: "ranking", explanation },
    };
  }
}

/** `most` of the items, by chance that depends on the question alone, in their order. */
function drawn<T>(items: readonly T[], most: number, question: number): readonly T[] {
  if (items.length <= most) return items;
  const stream = randomStream({ seed: 0, stage: "stackexchange", item: question });
  const keyed = items.map((item, i) => ({ item, i, key: stream.uniform(i) }));
  const chosen = keyed.sort((one, other) => one.key - other.key).slice(0, most);
  return chosen.sort((one, other) => one.i - other.i).map(({ item }) => item);
}

function promptOf({ title, body }: Question): PromptRow["prompt"] {
  const content = [title.trim(), htmlToText(body)].filter(Boolean).join("\n\n");
  return [{ role: "user", content }];
}
