import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { stopDetector } from "./stop.ts";

function run(pieces: string[], stops: string[]) {
  const detector = stopDetector(stops);
  let text = "";
  let stop: string | undefined;
  for (const piece of pieces) {
    const step = detector.push(piece);
    text += step.text;
    stop = step.stop;
  }
  return { text: text + detector.flush(), stop };
}

/** The definition, character by character. */
function byCharacter(text: string, stops: string[]) {
  for (let end = 1; end <= text.length; end++) {
    const ended = stops.filter((stop) => text.slice(0, end).endsWith(stop)).sort((a, b) => b.length - a.length)[0];
    if (ended !== undefined) return { text: text.slice(0, end - ended.length), stop: ended };
  }
  return { text, stop: undefined };
}

describe("stopDetector", () => {
  it("finds a stop string across pieces and holds back its beginning", () => {
    const detector = stopDetector(["\n\nHuman:"]);
    expect(detector.push("Yes.\n\nHu")).toEqual({ text: "Yes." });
    expect(detector.push("man: and")).toEqual({ text: "", stop: "\n\nHuman:" });
    expect(detector.push("more")).toEqual({ text: "", stop: "\n\nHuman:" });
    expect(detector.flush()).toBe("");
  });

  it("lets a false beginning through", () => {
    expect(run(["a<|", "x|>", "<|"], ["<|end|>"])).toEqual({ text: "a<|x|><|", stop: undefined });
  });

  it("takes the string that is complete first, not the one that begins first", () => {
    expect(run(["abcd"], ["abcd", "bc"])).toEqual({ text: "a", stop: "bc" });
    expect(run(["abc"], ["bc", "abc"])).toEqual({ text: "", stop: "abc" });
  });

  it("agrees with the definition, however the text is cut", () => {
    const letters = fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 30 });
    const stop = fc.string({ unit: fc.constantFrom("a", "b", "c"), minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(fc.array(letters), fc.array(stop, { maxLength: 4 }), (pieces, stops) => {
        expect(run(pieces, stops)).toEqual(byCharacter(pieces.join(""), stops));
      }),
      { numRuns: 1000 },
    );
  });
});
