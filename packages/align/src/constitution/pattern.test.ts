import { describe, expect, it } from "vitest";
import { patternFault } from "./pattern.ts";

describe("a pattern with a control character", () => {
  it.each(["\b(stupid|idiot)\b", "\bdoctor\b", "\u0000", "a\u001bb", "\u007f"])(
    "%j is refused, with what to write",
    (text) => {
      expect(patternFault(text)).toMatch(/control character U\+00[0-9A-F]{2}, which no reply has.*single quotes/);
    },
  );

  it("is none with tabs and ends of lines", () => {
    expect(patternFault("a\tb\r\nc")).toBeUndefined();
    expect(patternFault("\\bdoctor\\b")).toBeUndefined();
  });
});
