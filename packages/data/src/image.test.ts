import { createHash } from "node:crypto";
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  collect,
  type DatasetOptions,
  ExportError,
  exportDataset,
  imageText,
  inWords,
  keyOf,
  openDataset,
  preferenceRowSchema,
  promptRowSchema,
} from "./index.ts";

const base64 = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const png = Buffer.from(base64, "base64");
const shown = `data:image/png;base64,${base64}`;

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-image-"));
  await mkdir(join(folder, "data", "pictures"), { recursive: true });
  for (const name of ["cat.png", "pictures/dog.png", "..hidden.png"]) await writeFile(join(folder, "data", name), png);
  await writeFile(join(folder, "secret.png"), png);
  await symlink(join(folder, "secret.png"), join(folder, "data", "link.png"));
  await symlink(folder, join(folder, "data", "up"));
  await writeFile(join(folder, "data", "words.png"), "I am no image.");
  await writeFile(join(folder, "data", "page.svg"), "<svg xmlns='http://www.w3.org/2000/svg'/>");
});
afterAll(() => rm(folder, { recursive: true }));

async function read<As extends "prompts" | "preferences" | "examples">(
  records: readonly object[],
  as: As,
  options: Partial<DatasetOptions<As>> = { images: true },
) {
  const path = join(folder, "data", "rows.jsonl");
  // A row that can be used stands first, so that the file is one of its kind whatever the others are.
  const first = { prompt: "First", completion: "So.", chosen: "a", rejected: "b" };
  await writeFile(path, [first, ...records].map((record) => `${JSON.stringify(record)}\n`).join(""));
  const { rows, asides } = await collect(await openDataset(path, { as, ...options }));
  return { rows: rows.slice(1), asides };
}

const what = (more: object) => ({ prompt: "What is it?", ...more });

describe("a record's images", () => {
  it.each([
    ["a path beside the file", { image: "cat.png" }],
    ["a path below it", { images: ["pictures/dog.png"] }],
    ["a path that comes back", { images: ["pictures/../cat.png"] }],
    ["a name that begins with dots", { images: ["..hidden.png"] }],
    ["a data URL", { images: [shown] }],
  ])("%s: the row holds the bytes, and has the same id", async (_, more) => {
    const { rows, asides } = await read([what(more)], "prompts");
    expect(asides).toEqual([]);
    expect(rows).toHaveLength(1);
    expect(rows[0]!.prompt).toEqual([{ role: "user", content: "What is it?", images: [shown] }]);
    expect(promptRowSchema.parse(rows[0])).toEqual(rows[0]);
    const [alike] = (await read([what({ image: "cat.png" })], "prompts")).rows;
    expect(rows[0]!.id).toBe(alike!.id);
  });

  it("other bytes, or none, are another row; another name is not", async () => {
    await writeFile(join(folder, "data", "changes.png"), png);
    const before = (await read([what({ image: "changes.png" })], "prompts")).rows[0]!;
    await rename(join(folder, "data", "changes.png"), join(folder, "data", "renamed.png"));
    expect((await read([what({ image: "renamed.png" })], "prompts")).rows[0]!.id).toBe(before.id);
    await writeFile(join(folder, "data", "changes.png"), Buffer.concat([png, Buffer.from("1")]));
    expect((await read([what({ image: "changes.png" })], "prompts")).rows[0]!.id).not.toBe(before.id);
    for (const none of [{}, { image: null }, { images: [] }, { image: "" }]) {
      const [row] = (await read([what(none)], "prompts")).rows;
      expect(row!.prompt).toEqual([{ role: "user", content: "What is it?" }]);
      expect(row!.id).not.toBe(before.id);
    }
  });

  it("stand in the last turn of a pair's prompt", async () => {
    const prompt = [
      { role: "system", content: "Look well." },
      { role: "user", content: "What is it?" },
    ];
    const { rows } = await read([{ prompt, chosen: "A cat.", rejected: "A dog.", image: "cat.png" }], "preferences");
    expect(rows[0]).toMatchObject({ prompt: [prompt[0], { ...prompt[1], images: [shown] }], a: "A cat.", p: 1 });
    expect(preferenceRowSchema.parse(rows[0])).toEqual(rows[0]);
  });

  it.each([
    ["outside by its name", "../secret.png", "lies outside the file's folder"],
    ["outside from the root", "/etc/passwd", "lies outside the file's folder"],
    ["outside by a link", "link.png", "lies outside the file's folder"],
    ["outside by a linked folder", "up/secret.png", "lies outside the file's folder"],
    ["not there", "absent.png", "does not exist"],
    ["a folder", "pictures", "is no ordinary file"],
    ["an address", "https://example.org/cat.png", "is an address, and nothing is fetched"],
    ["no image, whatever it is called", "words.png", "begins as no PNG, JPEG, GIF or WebP does"],
    ["a program for browsers", "page.svg", "begins as no PNG, JPEG, GIF or WebP does"],
    ["a data URL of something else", "data:image/svg+xml;base64,PHN2Zy8+", "is no data URL of an image in base64"],
    ["a data URL that is named otherwise", "data:image/png;base64,SSBhbSBubyBpbWFnZS4=", "begins as no PNG"],
    ["a path that is none", "cat\0.png", "cannot be read"],
    ["a number", 7, "is no text"],
  ])("%s: set aside", async (_, image, reason) => {
    const { rows, asides } = await read([what({ image })], "prompts");
    expect(rows).toEqual([]);
    expect(asides).toMatchObject([{ source: "rows.jsonl:2", reason: expect.stringContaining(reason) }]);
    // Nothing of a file that was not to be read is told.
    expect(JSON.stringify(asides)).not.toContain("root:");
  });

  it("of another kind than their name are known by their bytes", async () => {
    const kinds = { jpeg: "ffd8ffe0", gif: Buffer.from("GIF89a").toString("hex"), webp: "524946460000000057454250" };
    for (const [type, head] of Object.entries(kinds)) {
      await writeFile(join(folder, "data", "named.png"), Buffer.from(head, "hex"));
      const { rows } = await read([what({ image: "named.png" })], "prompts");
      expect(rows[0]!.prompt[0]!.images![0]).toMatch(new RegExp(`^data:image/${type};base64,`));
    }
  });

  it("may have so many bytes together", async () => {
    const two = what({ images: ["cat.png", shown] });
    expect((await read([two], "prompts", { images: true, maxImageBytes: 2 * png.length })).rows).toHaveLength(1);
    const { asides } = await read([two], "prompts", { images: true, maxImageBytes: 2 * png.length - 1 });
    expect(asides[0]!.reason).toMatch(/^image 2 is too large: .* 139 bytes together \(option maxImageBytes\)/);
  });

  it("whose place the text marks for a template are set aside", async () => {
    const { asides } = await read([{ prompt: "<image>\nWhat is it?", image: "cat.png" }], "prompts");
    expect(asides[0]!.reason).toContain("spells out <image>");
  });

  it("that nobody sees who reads the file set the record aside, and so does one in a turn", async () => {
    const blind = await read([what({ image: "cat.png" })], "prompts", {});
    expect(blind).toMatchObject({ rows: [], asides: [{ reason: expect.stringContaining("nobody sees") }] });
    const learnt = await read([{ prompt: "a", completion: "b", image: "cat.png" }], "examples");
    expect(learnt).toMatchObject({ rows: [], asides: [{ reason: expect.stringContaining("nobody sees") }] });
    const parts = [
      { type: "image_url", image_url: { url: shown } },
      { type: "text", text: "What is it?" },
    ];
    const said = { content: "What is it?" };
    for (const turn of [
      { content: parts },
      { ...said, images: [shown] },
      { ...said, images: "cat.png" },
      { ...said, image: "cat.png" },
    ]) {
      const { rows, asides } = await read([{ prompt: [{ role: "user", ...turn }] }], "prompts");
      expect(rows).toEqual([]);
      expect(asides[0]!.reason).toContain("prompt[0] shows an image; expected text, and the image in the record's own");
    }
  });
});

it("an image that cannot be read is a doubt: the file is another than one whose texts were read before", async () => {
  const { asides } = await read([what({ image: "absent.png" })], "prompts");
  expect(asides).toMatchObject([{ doubtful: true }]);
});

it("a long line with an image inside is read whole, and nothing is noted of columns that are not", async () => {
  const image = `data:image/png;base64,${Buffer.concat([png, Buffer.alloc(2 ** 20)]).toString("base64")}`;
  const path = join(folder, "data", "long.jsonl");
  const notes = async (record: object) => {
    await writeFile(path, JSON.stringify(what(record)));
    const found: unknown[] = [];
    for await (const one of await openDataset(path, { as: "prompts", images: true }))
      if ("row" in one) found.push(one.notes);
    return found;
  };
  expect(await notes({ image })).toEqual([undefined]);
  expect(await notes({ other: image })).toEqual([["columns that are not read are long"]]);
});

it("a key has the hash of an image for it, and of texts is their JSON", () => {
  const texts = { prompt: [{ role: "user", content: "images" }], responses: ["a", "b"] };
  expect(keyOf(texts)).toBe(JSON.stringify(texts));
  const hash = createHash("sha256").update(shown).digest("hex");
  const prompt = [{ role: "user", content: "What?", images: [shown] }];
  expect(keyOf([prompt])).toBe(JSON.stringify([[{ ...prompt[0], images: [hash] }]]));
});

it("people are told an image's kind, size and hash", () => {
  const hash = createHash("sha256").update(png).digest("hex").slice(0, 8);
  expect(imageText(shown)).toBe(`[image: PNG, 1 kB, ${hash}]`);
  expect(inWords([{ role: "user", content: "What is it?", images: [shown] }])).toEqual([
    { role: "user", content: `[image: PNG, 1 kB, ${hash}]\nWhat is it?` },
  ]);
});

it("a dataset of texts is not written of prompts that show images", async () => {
  const { rows } = await read([what({ image: "cat.png" })], "prompts");
  const written = exportDataset(join(folder, "out"), { as: "prompts", name: "x", splits: { train: rows } });
  await expect(written).rejects.toThrow(ExportError);
  await expect(written).rejects.toThrow("a prompt shows an image");
});
