import { describe, expect, it } from "vitest";
import { forbidsAll, patternFault } from "./pattern.ts";

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

describe("a pattern that matches nothing", () => {
  it.each([
    "\\b医生\\b",
    "\\bécole",
    "(лікар|врач)\\b",
    "see (a|the)? \\b(?:医生|แพทย์)",
    "(\\b医|士\\b)",
    "caf[éè]\\b",
    "\\b(?i:ärzt)in",
    "(?P<not>x )?\\b医",
    "/stupid|idiot/",
    "/stupid/i",
    "$doctor",
    "US$100",
    "10^3",
  ])("%j is refused, with what to write", (pattern) => {
    expect(patternFault(pattern)).toMatch(/matches nothing|would match slashes only/);
  });

  it.each([
    "\\bdoctor\\b",
    "医生|看",
    "\\b(?:see|ask).{0,20}医生",
    "é\\w+\\b",
    "(^|\\PL)école(\\PL|$)",
    "[^医]\\b",
    "\\bnaïve\\b",
    "^医生$",
    "\\b(children|fiancée)\\b",
    "\\bé?cole",
    "(\\b医)?doctor",
    "/usr/bin",
    "/docs/",
    "\\$100",
    "[$^]1",
    "(?m)^a$b?",
    "a|^b|c$",
    "\\p{Han}\\b",
    "x{2,3}\\b",
  ])("%j is none", (pattern) => expect(patternFault(pattern)).toBeUndefined());
});

describe("a pattern that matches every text", () => {
  it.each(["stupid|idiot|", "(stupid|)", ".*", "doctor?|(nurse)?", "^(hello)?", "stupid|$", "(?:|a)", "[a-z]*"])(
    "%j is refused",
    (pattern) => expect(patternFault(pattern)).toMatch(/matches every text.*empty/),
  );
  it.each(["^$", "^\\s*$", "very (stupid|) person", "^[^?]*$", "^.{0,500}$", ".", "\\S"])("%j is none", (pattern) =>
    expect(patternFault(pattern)).toBeUndefined(),
  );
  it.each([
    [".", true],
    ["\\S", true],
    ["[^?]", true],
    ["\\w", false],
    ["^.$", false],
  ])("%j forbids all: %j", (pattern, all) => expect(forbidsAll(pattern) !== undefined).toBe(all));
});
