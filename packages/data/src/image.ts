import { createHash } from "node:crypto";
import { readFile, realpath, stat } from "node:fs/promises";
import { isAbsolute, join, relative, resolve, sep } from "node:path";
import { z } from "zod";
import { Doubtful, excerptOf, foreignText, Unusable } from "./errors.ts";
import type { Message } from "./message.ts";

/*
 * An image of a conversation is its bytes, as a data URL: a row's id, and every key that is made of a row, follows what is seen and not
 * where it lay. It is shown to models behind endpoints and to nobody else; people are shown its kind, its size and its hash.
 */

/** The first bytes of every kind that is taken. */
const kinds: readonly { readonly type: string; readonly is: (bytes: Uint8Array) => boolean }[] = [
  { type: "image/png", is: (bytes) => latin(bytes, 0, 8) === "\x89PNG\r\n\x1a\n" },
  { type: "image/jpeg", is: (bytes) => latin(bytes, 0, 3) === "\xff\xd8\xff" },
  { type: "image/gif", is: (bytes) => ["GIF87a", "GIF89a"].includes(latin(bytes, 0, 6)) },
  { type: "image/webp", is: (bytes) => latin(bytes, 0, 4) === "RIFF" && latin(bytes, 8, 12) === "WEBP" },
];

function latin(bytes: Uint8Array, from: number, to: number): string {
  return Buffer.from(bytes.subarray(from, to)).toString("latin1");
}

const form = /^data:(image\/(?:png|jpeg|gif|webp));base64,([A-Za-z0-9+/]+={0,2})$/;

/** An image as messages hold it: a data URL of PNG, JPEG, GIF or WebP in base64. */
export const imageSchema = z.string().regex(form, { error: "expected a data URL of a PNG, JPEG, GIF or WebP image" });

/** All images of a conversation, in its order. */
export function imagesOf(messages: readonly Message[]): string[] {
  return messages.flatMap(({ images = [] }) => images);
}

/** What a message that quotes a conversation shows with it, to be spread into the message: all images, before its words. */
export function shownWith(quoted: readonly Message[]): Pick<Message, "images"> {
  const images = imagesOf(quoted);
  return images.length === 0 ? {} : { images };
}

/** An image in words: `[image: PNG, 24 kB, 9f86d081]`, the last the beginning of the SHA-256 of its bytes. */
export function imageText(image: string): string {
  const [, type = "", base64 = ""] = form.exec(image) ?? [];
  const bytes = Buffer.from(base64, "base64");
  const hash = createHash("sha256").update(bytes).digest("hex").slice(0, 8);
  return `[image: ${type.replace("image/", "").toUpperCase()}, ${Math.ceil(bytes.length / 1000)} kB, ${hash}]`;
}

/** A value as a key: its JSON, in which the SHA-256 of each image that messages show stands for it. */
export function keyOf(value: unknown): string {
  return JSON.stringify(value, (name, field: unknown) =>
    name === "images" && Array.isArray(field)
      ? field.map((image) => createHash("sha256").update(foreignText(image)).digest("hex"))
      : field,
  );
}

/** A conversation for people: each image in words, on a line before its turn's text. */
export function inWords(messages: readonly Message[]): Message[] {
  return messages.map(({ images = [], role, content }) => ({
    role,
    content: [...images.map(imageText), content].join("\n"),
  }));
}

/** How a template of another's marks the place of an image in a text. */
const placeMark = /<image>|<\|image(?:_pad|_start|_end)?\|>|<image_placeholder>/;

/** A prompt whose last turn shows images. @throws Unusable where its text marks their place for a template */
export function showing(prompt: Message[], images: readonly string[]): Message[] {
  if (images.length === 0) return prompt;
  const mark = prompt.map(({ content }) => placeMark.exec(content)?.[0]).find((found) => found !== undefined);
  if (mark !== undefined)
    throw new Unusable(`the prompt spells out ${mark}, by which a template puts an image in. Give the text without it`);
  return [...prompt.slice(0, -1), { ...prompt.at(-1)!, images: [...images] }];
}

/** What a record says of its images; undefined where it says nothing. */
export function imagesNamed(value: Readonly<Record<string, unknown>>): readonly unknown[] | undefined {
  const named = [value.images, value.image].flat().filter((one) => one !== undefined && one !== null && one !== "");
  return named.length === 0 ? undefined : named;
}

/**
 * The images that a record names, read: each a path beside the record's file or below it, or a data URL.
 *
 * @param folder of the record's file
 * @param maxBytes of all of them together
 * @throws Doubtful for what is neither, leads out of the folder, is no such image, or is too large
 */
export async function readImages(named: readonly unknown[], folder: string, maxBytes: number): Promise<string[]> {
  const images: string[] = [];
  let left = maxBytes;
  for (const [i, one] of named.entries()) {
    const place = named.length === 1 ? "the image" : `image ${i + 1}`;
    if (typeof one !== "string" || one === "")
      throw new Doubtful(`${place} is no text; expected a path beside the file, or a data URL`);
    const inside = /^data:/i.test(one);
    const name = inside ? place : `${place}, ${excerptOf(one, 80)},`;
    const bytes = inside ? bytesIn(one, name) : await bytesAt(one, { folder, name, most: left });
    if (bytes === undefined || bytes.length > left)
      throw new Doubtful(`${name} is too large: a record's may have ${maxBytes} bytes together (option maxImageBytes)`);
    left -= bytes.length;
    const type = kinds.find(({ is }) => is(bytes))?.type;
    if (type === undefined) throw new Doubtful(`${name} begins as no PNG, JPEG, GIF or WebP does`);
    images.push(`data:${type};base64,${bytes.toString("base64")}`);
  }
  return images;
}

function bytesIn(url: string, name: string): Buffer {
  const base64 = form.exec(url)?.[2];
  if (base64 === undefined)
    throw new Doubtful(`${name} is no data URL of an image in base64; expected data:image/png;base64,… or the like`);
  return Buffer.from(base64, "base64");
}

/** What an ordinary file in the folder or below it holds, links followed; undefined where it is more than `most` bytes. */
async function bytesAt(
  path: string,
  { folder, name, most }: { readonly folder: string; readonly name: string; readonly most: number },
): Promise<Buffer | undefined> {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(path))
    throw new Doubtful(`${name} is an address, and nothing is fetched. Save it beside the file, and give its path`);
  const isOutside = (way: string) => isAbsolute(way) || way === ".." || way.startsWith(`..${sep}`);
  const outside = `${name} lies outside the file's folder. Put it there, and give its path from there`;
  if (isAbsolute(path) || isOutside(relative(folder, resolve(folder, path)))) throw new Doubtful(outside);
  try {
    const [real, root] = [await realpath(join(folder, path)), await realpath(folder)];
    if (isOutside(relative(root, real))) throw new Doubtful(outside);
    const facts = await stat(real);
    if (!facts.isFile()) throw new Doubtful(`${name} is no ordinary file`);
    return facts.size > most ? undefined : await readFile(real);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === undefined) throw cause;
    throw new Doubtful(`${name} ${code === "ENOENT" ? "does not exist" : `cannot be read: ${excerptOf(message)}`}`);
  }
}
