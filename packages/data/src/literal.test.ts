import fc from "fast-check";
import { expect, it } from "vitest";
import { readLiteral } from "./literal.ts";

const turns = [
  { role: "user", content: "Is it?" },
  { role: "assistant", content: "It's “so”." },
];

it.each<[string, string, unknown]>([
  ["JSON", JSON.stringify(turns), turns],
  ["Python", `[{'role': 'user', 'content': 'Is it?'}, {'role': 'assistant', 'content': "It's “so”."}]`, turns],
  ["NumPy", `[{'content': 'Is it?', 'role': 'user'}\n {'content': "It's “so”.", 'role': 'assistant'}]`, turns],
  ["NumPy's repr", `array([{'a': array([1, 2])}], dtype=object)`, [{ a: [1, 2] }]],
  ["tuples and words", "(True, None, nan, -inf, 'a',)", [true, null, Number.NaN, Number.NEGATIVE_INFINITY, "a"]],
  ["escapes", String.raw`'a\n\'b\' \x41 \u00e9 \U0001F642 \d'`, "a\n'b' A é 🙂 \\d"],
  ["Python's JSON", '{"a": NaN, "b": [-Infinity, 1e-3]}', { a: Number.NaN, b: [Number.NEGATIVE_INFINITY, 0.001] }],
])("reads %s", (_, text, value) => expect(readLiteral(text)).toEqual(value));

it.each([
  "[1, 2] is a list",
  "[1 2",
  "['a'b]",
  "{'a' 1}",
  "['cut off, ...",
  "[{'role': 'user'}, ...]",
  "[Is this a list?]",
  "'''",
  "",
  "[".repeat(100_000),
])("does not take %j for a value", (text) => expect(readLiteral(text)).toBeUndefined());

it("reads back what Python prints", () => {
  const python = (value: unknown): string => {
    if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
    if (value !== null && typeof value === "object")
      return `{${Object.entries(value)
        .map(([name, field]) => `${python(name)}: ${python(field)}`)
        .join(", ")}}`;
    if (typeof value !== "string")
      return value === null
        ? "None"
        : JSON.stringify(value).replace(/^./, (first) => (typeof value === "boolean" ? first.toUpperCase() : first));
    const quote = value.includes("'") && !value.includes('"') ? '"' : "'";
    const escaped = value.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll(quote, `\\${quote}`);
    return quote + escaped + quote;
  };
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 2 }), (value) => {
      const plain = JSON.parse(JSON.stringify(value)) as unknown;
      expect(readLiteral(python(plain))).toEqual(plain);
    }),
    { numRuns: 50 },
  );
});
