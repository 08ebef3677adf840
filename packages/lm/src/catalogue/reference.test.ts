import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ModelReferenceError } from "./errors.ts";
import { parseReference } from "./reference.ts";

describe("parseReference", () => {
  it.each([
    ["smollm2-135m-instruct", { kind: "name", name: "smollm2-135m-instruct" }],
    ["./model", { kind: "path", path: "./model" }],
    ["models/x", { kind: "path", path: "models/x" }],
    ["C:\\models\\x", { kind: "path", path: "C:\\models\\x" }],
    ["x.gguf", { kind: "path", path: "x.gguf" }],
    ["hf:a/b", { kind: "hf", owner: "a", name: "b", revision: "main" }],
    ["hf:a/b.c@refs/pr/1", { kind: "hf", owner: "a", name: "b.c", revision: "refs/pr/1" }],
    ["hf:a/b@v1:sub/f.gguf", { kind: "hf", owner: "a", name: "b", revision: "v1", file: "sub/f.gguf" }],
    ["pypi:p-q==1.0.post1/a/b.gguf", { kind: "pypi", package: "p-q", version: "1.0.post1", member: "a/b.gguf" }],
  ])("%s", (text, expected) => {
    expect(parseReference(text)).toEqual(expected);
  });

  it.each([
    "",
    "hf:a",
    "hf:../b",
    "hf:a/..",
    "hf:a/b@../../c",
    "hf:a/b:../f",
    "hf:a/b:/f",
    "pypi:p/f",
    "pypi:p==1",
    "pypi:p==1/../../f",
    "pypi:p==1//f",
    "pypi:p==1/a/./f",
    "pypi:p==1/a\\..\\f",
    "pypi:--index-url=x==1/f",
    "pypi:p==--pre/f",
    "s3:bucket",
  ])("refuses '%s'", (text) => {
    expect(() => parseReference(text)).toThrow(ModelReferenceError);
  });

  it("either reads or refuses, whatever comes", () => {
    const piece = fc.constantFrom("hf:", "pypi:", "a", "/", "..", "@", ":", "==", "1", "\\", ".gguf", "\0", " ");
    fc.assert(
      fc.property(fc.array(piece), (pieces) => {
        try {
          const read = parseReference(pieces.join(""));
          if (read.kind === "pypi") expect(read.member.split("/")).not.toContain("..");
        } catch (error) {
          expect(error).toBeInstanceOf(ModelReferenceError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
