import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canonicalJson, hashOf, NotJsonError } from "./canonical.ts";

describe("canonicalJson", () => {
  it("writes RFC 8785's example as the RFC does", () => {
    const value = {
      numbers: [Number("333333333.33333329"), 1e30, 4.5, 2e-3, 0.000000000000000000000000001],
      string: "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
      literals: [null, true, false],
    };
    expect(canonicalJson(value)).toBe(
      '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],' +
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
    );
  });

  it("does not depend on the order of keys, and loses nothing", () => {
    const shuffled = (value: unknown): unknown => {
      if (Array.isArray(value)) return value.map(shuffled);
      if (typeof value !== "object" || value === null) return value;
      return Object.fromEntries(
        Object.entries(value)
          .reverse()
          .map(([key, field]) => [key, shuffled(field)]),
      );
    };
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = canonicalJson(value);
        expect(canonicalJson(shuffled(value))).toBe(text);
        expect(canonicalJson(JSON.parse(text))).toBe(text);
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
        expect(text).not.toContain("\n");
      }),
    );
  });

  it("leaves out undefined fields, as JSON does", () => {
    expect(canonicalJson({ a: undefined, b: 1 })).toBe('{"b":1}');
  });

  it.each([
    [{ a: [1, Number.NaN] }, "$.a[1] is NaN"],
    [{ a: Number.POSITIVE_INFINITY }, "$.a is Infinity"],
    [[undefined], "$[0] is a undefined"],
    [{ when: new Date(0) }, "$.when is a Date"],
    [{ bytes: new Float32Array(2) }, "$.bytes is a Float32Array"],
    [{ call: () => 1 }, "$.call is a function"],
    [{ big: 1n }, "$.big is a bigint"],
  ])("refuses what JSON cannot hold: %o", (value, message) => {
    expect(() => canonicalJson(value)).toThrow(NotJsonError);
    expect(() => canonicalJson(value)).toThrow(message);
  });

  it("refuses a cycle", () => {
    const loop: Record<string, unknown> = {};
    loop.self = loop;
    expect(() => canonicalJson(loop)).toThrow(NotJsonError);
  });
});

describe("hashOf", () => {
  it("is the SHA-256 of the canonical JSON", () => {
    // printf '{"a":[1,2.5],"b":"é"}' | sha256sum
    expect(hashOf({ b: "é", a: [1, 2.5] })).toBe("2071e5952e3110d79f01f374bf90abe7fc01cf116fd0a40af0ab60d3f9a99f8d");
  });
});
