import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tinyPng } from "@tenet/fixtures";
import { expect, it } from "vitest";
import { readingOf } from "./files.ts";

it("a file with images is known by which row shows what, and by what cannot be read", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tenet-files-"));
  try {
    const path = join(folder, "rows.jsonl");
    const lines = ["one", "two", "three"].map((prompt) => ({
      prompt,
      ...(prompt !== "three" && { image: `${prompt}.png` }),
    }));
    await writeFile(path, lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
    const settings = () => readingOf(path, "prompts", { images: true }).settings();
    // Not what a reader said of the file who saw no images.
    const none = await settings();
    expect(none.slice(3)).toEqual(["read as what it is"]);
    await writeFile(join(folder, "one.png"), tinyPng(1));
    const first = await settings();
    await rename(join(folder, "one.png"), join(folder, "two.png"));
    const second = await settings();
    expect(new Set([none, first, second].map((one) => JSON.stringify(one))).size).toBe(3);
    await writeFile(join(folder, "one.png"), tinyPng(2));
    const both = await settings();
    expect(both.slice(3)).toEqual([expect.stringMatching(/^shows [0-9a-f]{64}$/)]);
    await writeFile(join(folder, "one.png"), tinyPng(3));
    expect(await settings()).not.toEqual(both);
  } finally {
    await rm(folder, { recursive: true });
  }
});
