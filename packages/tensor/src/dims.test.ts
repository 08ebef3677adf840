import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  broadcastShapes,
  type Dim,
  dimAdd,
  dimDiv,
  dimMul,
  dimSub,
  dimSymbols,
  dimTerms,
  dimValue,
  isSymbolName,
  numel,
  sameShape,
} from "./dims.ts";

const names = ["rows", "time", "heads", "_x1"];
const { dim } = fc.letrec<{ dim: Dim }>((tie) => ({
  dim: fc.oneof(
    { depthSize: "small" },
    fc.integer({ min: -4, max: 9 }),
    fc.constantFrom<Dim>(...names),
    fc.tuple(tie("dim"), tie("dim")).map(([a, b]) => dimAdd(a, b)),
    fc.tuple(tie("dim"), tie("dim")).map(([a, b]) => dimSub(a, b)),
    fc.tuple(tie("dim"), tie("dim")).map(([a, b]) => dimMul(a, b)),
  ),
}));
const symbols = fc
  .tuple(...names.map(() => fc.integer({ min: 0, max: 6 })))
  .map((sizes) => new Map(sizes.map((size, i) => [names[i]!, size])));

function always<T extends unknown[]>(arbitraries: { [K in keyof T]: fc.Arbitrary<T[K]> }, check: (...x: T) => void) {
  fc.assert(
    fc.property(fc.tuple<T>(...arbitraries), (drawn) => check(...drawn)),
    { seed: 1, numRuns: 500 },
  );
}

describe("dimensions are a commutative ring, equal exactly when their texts are", () => {
  it("adds", () => {
    always([dim, dim, dim], (a, b, c) => {
      expect(dimAdd(a, b)).toBe(dimAdd(b, a));
      expect(dimAdd(dimAdd(a, b), c)).toBe(dimAdd(a, dimAdd(b, c)));
      expect(dimAdd(a, 0)).toBe(a);
      expect(dimSub(a, a)).toBe(0);
      expect(dimAdd(dimSub(a, b), b)).toBe(a);
    });
  });

  it("multiplies", () => {
    always([dim, dim, dim], (a, b, c) => {
      expect(dimMul(a, b)).toBe(dimMul(b, a));
      expect(dimMul(dimMul(a, b), c)).toBe(dimMul(a, dimMul(b, c)));
      expect(dimMul(a, 1)).toBe(a);
      expect(dimMul(a, 0)).toBe(0);
      expect(dimMul(a, dimAdd(b, c))).toBe(dimAdd(dimMul(a, b), dimMul(a, c)));
    });
  });

  it("divides what was multiplied", () => {
    always([dim, dim], (a, b) => {
      expect(dimDiv(dimMul(a, b), b)).toBe(b === 0 ? undefined : a);
    });
  });

  it("gives a quotient only where the product is the dividend", () => {
    always([dim, dim], (a, b) => {
      const quotient = dimDiv(a, b);
      if (quotient !== undefined) expect(dimMul(quotient, b)).toBe(a);
    });
  });

  it("evaluates as the numbers would", () => {
    always([dim, dim, symbols], (a, b, sizes) => {
      const [p, q] = [dimValue(a, sizes), dimValue(b, sizes)];
      expect(dimValue(dimAdd(a, b), sizes)).toBe(p + q);
      expect(dimValue(dimSub(a, b), sizes)).toBe(p - q);
      expect(dimValue(dimMul(a, b), sizes) - p * q).toBe(0);
    });
  });

  it("is what its terms add up to", () => {
    always([dim], (a) => {
      const sum = dimTerms(a).reduce<Dim>((rest, [k, factors]) => dimAdd(rest, factors.reduce<Dim>(dimMul, k)), 0);
      expect(sum).toBe(a);
      expect(dimSymbols(a).every(isSymbolName)).toBe(true);
    });
  });
});

it("writes polynomials in one way", () => {
  expect(dimAdd("time", -1)).toBe("time-1");
  expect(dimMul("time", "rows")).toBe("rows*time");
  expect(dimMul(dimSub("time", 1), dimAdd("time", 1))).toBe("time*time-1");
  expect(dimSub(dimMul(2, "b"), dimMul(3, "a"))).toBe("-3*a+2*b");
  expect(dimSub(0, "a")).toBe("-a");
  expect(dimSub(dimAdd("a", 3), "a")).toBe(3);
});

it("divides by sums, and by nothing that does not go in", () => {
  expect(dimDiv("rows*time-rows", "time-1")).toBe("rows");
  expect(dimDiv("rows*time-rows", "rows")).toBe("time-1");
  expect(dimDiv("6*rows", 4)).toBeUndefined();
  expect(dimDiv("rows", "time")).toBeUndefined();
  expect(dimDiv("rows+1", "rows")).toBeUndefined();
  expect(dimDiv(6, 4)).toBeUndefined();
  expect(dimDiv(0, "rows")).toBe(0);
  expect(dimDiv(0, 0)).toBeUndefined();
});

it("has no value where a symbol has none", () => {
  expect(() => dimValue("rows*time", new Map([["rows", 2]]))).toThrow(/"time" has no value/);
});

it("broadcasts by NumPy's rule", () => {
  expect(broadcastShapes([2, 1], [3])).toEqual([2, 3]);
  expect(broadcastShapes([], [0, 4])).toEqual([0, 4]);
  expect(broadcastShapes([1], [0])).toEqual([0]);
  expect(broadcastShapes(["rows", 1], ["time"])).toEqual(["rows", "time"]);
  expect(broadcastShapes(["rows"], [2])).toBeUndefined();
  expect(broadcastShapes([2], [3])).toBeUndefined();
  expect(broadcastShapes([2], [0])).toBeUndefined();
});

it("broadcasting is symmetric, and associative where it is possible at all", () => {
  const shape = fc.array(fc.constantFrom<Dim>(0, 1, 1, 2, "rows"), { maxLength: 3 });
  always([shape, shape, shape], (a, b, c) => {
    const ab = broadcastShapes(a, b);
    expect(broadcastShapes(b, a)).toEqual(ab);
    const bc = broadcastShapes(b, c);
    if (ab && bc) expect(broadcastShapes(ab, c)).toEqual(broadcastShapes(a, bc));
    if (ab) expect(sameShape(broadcastShapes(ab, a)!, ab)).toBe(true);
  });
});

it("counts elements", () => {
  expect(numel([])).toBe(1);
  expect(numel([2, "rows", 3])).toBe("6*rows");
  expect(numel([2, "rows", 0])).toBe(0);
});
