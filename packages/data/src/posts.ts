import { SaxesParser } from "saxes";
import { type DataFile, readBytes } from "./bytes.ts";
import { DatasetError, excerptOf } from "./errors.ts";
import type { Read } from "./read.ts";

export interface Question {
  readonly kind: "question";
  readonly id: number;
  readonly acceptedAnswer: number | undefined;
  readonly title: string;
  /** HTML. */
  readonly body: string;
}

export interface Answer {
  readonly kind: "answer";
  readonly id: number;
  /** Id of the question it answers. */
  readonly question: number;
  /** Up-votes less down-votes. */
  readonly votes: number;
  /** HTML. */
  readonly body: string;
}

export type Post = Question | Answer;

/**
 * Questions and answers of a StackExchange `Posts.xml`, in the file's order; posts of other types (wikis, tag texts) are passed over.
 *
 * A row that is not well-formed, or lacks what it needs, is set aside and reading goes on behind it. No entity but XML's own five
 * is ever expanded.
 * @throws DatasetError when the root is not `<posts>`, there is no row in it, the file ends inside it, or a row exceeds `maxBytes`
 */
export async function* readPosts(file: DataFile, maxBytes: number): AsyncGenerator<Read<Post>> {
  const parser = new SaxesParser({ position: true, fileName: file.name });
  const decoder = new TextDecoder("utf-8");
  let found: Read<Post>[] = [];
  let root: string | undefined;
  let fault: string | undefined; // what was wrong since the last row
  let last = 0; // position behind the last tag
  let closed = false;
  let rows = 0;
  parser.on("error", (error) => {
    fault ??= error.message;
  });
  parser.on("opentag", ({ name, attributes }) => {
    last = parser.position;
    root ??= name;
    if (name !== "row") return;
    rows++;
    const post = fault === undefined ? postOf(attributes as Record<string, string>) : `not well-formed: ${fault}`;
    fault = undefined;
    const place = attributes.Id === undefined ? `:${parser.line}` : `#${excerptOf(String(attributes.Id), 20)}`;
    if (typeof post === "string")
      found.push({
        aside: {
          source: file.name + place,
          reason: post,
          excerpt: excerptOf(JSON.stringify(attributes).slice(0, 200)),
        },
      });
    else if (post) found.push({ row: post });
  });
  parser.on("closetag", ({ name }) => {
    closed ||= name === root && name === "posts";
  });
  for await (const chunk of readBytes(file)) {
    parser.write(decoder.decode(chunk, { stream: true }));
    if (root !== undefined && root !== "posts") throw otherRoot(file, `<${excerptOf(root, 40)}>`);
    if (parser.position - last > maxBytes)
      throw new DatasetError(
        `${file.path} holds a post longer than ${maxBytes} bytes (option maxRecordBytes) at line ${parser.line}.`,
      );
    yield* found;
    found = [];
  }
  if (root === undefined) throw otherRoot(file, "no element");
  if (!closed)
    throw new DatasetError(`${file.path} is cut off: it ends in line ${parser.line} before </posts>. Fetch it again.`);
  if (rows === 0)
    throw new DatasetError(`${file.path} holds no posts; expected at least one. Fetch or write it again.`);
}

function otherRoot(file: DataFile, found: string): DatasetError {
  return new DatasetError(
    `${file.path} is no StackExchange dump of posts: expected <posts> as its outermost element, found ${found}.`,
  );
}

/** A post, why it is none, or undefined for posts that are neither question nor answer. */
function postOf(attributes: Readonly<Record<string, string>>): Post | string | undefined {
  const { PostTypeId: type, Body: body, Title: title } = attributes;
  if (type === undefined) return "expected the attribute PostTypeId; found none";
  if (type !== "1" && type !== "2") return undefined;
  const id = whole(attributes.Id);
  if (id === undefined || id < 1) return `Id is ${shown(attributes.Id)}; expected a whole number`;
  if (body === undefined) return "expected the attribute Body; found none";
  if (`${title}${body}`.includes("\ufffd"))
    return "holds bytes that are not UTF-8, or the character that stands for them";
  if (type === "1") {
    const acceptedAnswer = attributes.AcceptedAnswerId === undefined ? undefined : whole(attributes.AcceptedAnswerId);
    if (!title?.trim() && !body.trim()) return "a question without title and body";
    return { kind: "question", id, acceptedAnswer, title: title ?? "", body };
  }
  const question = whole(attributes.ParentId);
  if (question === undefined || question < 1)
    return `ParentId is ${shown(attributes.ParentId)}; expected a whole number`;
  const votes = whole(attributes.Score);
  if (votes === undefined) return `Score is ${shown(attributes.Score)}; expected a whole number`;
  return { kind: "answer", id, question, votes, body };
}

function whole(text: string | undefined): number | undefined {
  return text !== undefined && /^-?\d{1,15}$/.test(text) ? Number(text) : undefined;
}

function shown(text: string | undefined): string {
  return text === undefined ? "missing" : JSON.stringify(excerptOf(text, 40));
}
