import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readCsv } from "./csv.ts";
import { readLines } from "./lines.ts";

async function* bytesOf(text: string): AsyncGenerator<Buffer> {
  yield Buffer.from(text);
}

async function read(text: string, maxBytes = 1000) {
  const found = [];
  for await (const item of readCsv(readLines(bytesOf(text), maxBytes), "x.csv", maxBytes))
    found.push("record" in item ? item.record.value : `${item.aside.source} ${item.aside.reason}`);
  return found;
}

describe("CSV", () => {
  it("gives back what was written, commas, quotation marks and line ends included", async () => {
    const cell = fc.array(fc.constantFrom("a", " ", ",", '"', '""', "\n", "é", "")).map((parts) => parts.join(""));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(cell, cell), { maxLength: 8 }), async (rows) => {
        const quoted = (value: string) => `"${value.replaceAll('"', '""')}"`;
        const text = ["one,two", ...rows.map((row) => row.map(quoted).join(","))].join("\r\n");
        expect(await read(text, 100_000)).toEqual(rows.map(([one, two]) => ({ one, two })));
      }),
    );
  });

  it("reads fields without quotation marks as they are", async () => {
    expect(await read('id, prompt\n1,say "hi"\n\n2,\n')).toEqual([
      { id: "1", prompt: 'say "hi"' },
      { id: "2", prompt: "" },
    ]);
  });

  it("sets records of another length aside", async () => {
    expect(await read("a,b\n1,2\n1,2,3\n1\n3,4")).toEqual([
      { a: "1", b: "2" },
      "x.csv:3 3 fields; expected 2 (a, b)",
      "x.csv:4 1 fields; expected 2 (a, b)",
      { a: "3", b: "4" },
    ]);
  });

  it("goes on behind a quotation mark that is never closed", async () => {
    const filler = Array.from({ length: 30 }, () => "1,2").join("\n");
    const found = await read(`a,b\n"open,2\n${filler}`, 40);
    expect(found[0]).toMatch(/^x\.csv:2 longer than 40 bytes .* line 2 not closed\?$/);
    expect(found.at(-1)).toEqual({ a: "1", b: "2" });
    expect(await read('a,b\n"open,2\n3,4')).toEqual([
      "x.csv:2 a quotation mark opened in the record of line 2 is not closed before the end of the file",
    ]);
  });
});
