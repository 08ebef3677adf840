import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readLines } from "./lines.ts";

async function* inPieces(bytes: Buffer, sizes: readonly number[]): AsyncGenerator<Buffer> {
  let start = 0;
  for (let i = 0; start < bytes.length; i++) {
    const end = start + Math.max(1, sizes[i % Math.max(1, sizes.length)] ?? 1);
    yield bytes.subarray(start, end);
    start = end;
  }
}

async function linesOf(text: string | Buffer, sizes: readonly number[] = [7], maxBytes = 1000) {
  const lines = [];
  for await (const line of readLines(inPieces(Buffer.from(text), sizes), maxBytes)) lines.push(line);
  return lines;
}

describe("lines", () => {
  it("are those of the text, in whatever pieces the bytes come", async () => {
    const texts = fc.array(fc.string({ unit: "binary" }).map((text) => text.replace(/[\r\n\ufeff]/g, "")));
    const sizes = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1 });
    await fc.assert(
      fc.asyncProperty(texts, sizes, fc.constantFrom("\n", "\r\n"), fc.boolean(), async (lines, sizes, end, mark) => {
        const text = (mark ? "\ufeff" : "") + lines.map((line) => line + end).join("");
        const found = await linesOf(text, sizes, 10_000);
        const expected = lines.length === 0 && mark ? [""] : lines;
        expect(found).toEqual(expected.map((text, i) => ({ line: i + 1, text })));
      }),
    );
  });

  it("may lack the last end", async () => {
    expect(await linesOf("one\ntwo")).toEqual([
      { line: 1, text: "one" },
      { line: 2, text: "two" },
    ]);
  });

  it("are passed over when they are longer than allowed, and held no longer than that", async () => {
    const lines = await linesOf(`short\n${"x".repeat(5000)}\nafter\n${"y".repeat(1001)}`, [64]);
    expect(lines.map((line) => ("text" in line ? line.text : line.reason))).toEqual([
      "short",
      "5000 bytes long; a record may have 1000 (option maxRecordBytes)",
      "after",
      "1001 bytes long; a record may have 1000 (option maxRecordBytes)",
    ]);
    expect(lines[1]).toMatchObject({ excerpt: expect.stringMatching(/^x+…$/) });
    expect(await linesOf("w".repeat(5000), [5000])).toMatchObject([{ excerpt: `${"w".repeat(120)}…` }]);
    expect(await linesOf("z".repeat(1000))).toEqual([{ line: 1, text: "z".repeat(1000) }]);
  });

  it("that are not UTF-8 are marked, and the next is read", async () => {
    const bytes = Buffer.concat([Buffer.from("one\n"), Buffer.from([0x63, 0xe9, 0x0a]), Buffer.from("three\n")]);
    expect(await linesOf(bytes, [3])).toEqual([
      { line: 1, text: "one" },
      { line: 2, text: "c\ufffd", damaged: true },
      { line: 3, text: "three" },
    ]);
  });
});
