import { describe, expect, it } from "vitest";
import { samplesFor } from "./pairs.ts";

describe("replies to each prompt, for so many pairs that a label tells apart,", () => {
  const usual = { samples: 4, pairs: "one" } as const;
  it("are as usual where those suffice", () => {
    expect(samplesFor({ wanted: 6, share: 1, prompts: 6 }, usual)).toBeUndefined();
    expect(samplesFor({ wanted: 18, share: 0.5, prompts: 6 }, { samples: 4, pairs: "all" })).toBeUndefined();
  });
  it("are never fewer than usual", () => {
    expect(samplesFor({ wanted: 7, share: 1, prompts: 6 }, usual)).toBe(4);
    expect(samplesFor({ wanted: 37, share: 1, prompts: 6 }, usual)).toBe(5);
    expect(samplesFor({ wanted: 1e6, share: 1, prompts: 6 }, { samples: 20, pairs: "one" })).toBe(20);
  });
  it("are more the fewer are told apart, 16 at most, and as usual where none are", () => {
    expect(samplesFor({ wanted: 37, share: 0.5, prompts: 6 }, usual)).toBe(6);
    expect(samplesFor({ wanted: 37, share: 0.001, prompts: 6 }, usual)).toBe(16);
    expect(samplesFor({ wanted: 37, share: 0, prompts: 6 }, usual)).toBeUndefined();
  });
});
