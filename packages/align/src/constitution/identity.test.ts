import { describe, expect, it } from "vitest";
import {
  type Constitution,
  ConstitutionError,
  constitutionHash,
  diffConstitutions,
  fromVotes,
  parseConstitution,
  principleHash,
  type Vote,
} from "./index.ts";

const yaml = `name: c
version: "1"
principles:
  - { id: a, text: First. }
  - { id: b, text: Second., weight: 2, checks: [{ must: x }] }
`;
const parse = (text: string, file = "c.yaml"): Constitution => parseConstitution(text, { file }).value;
const base = parse(yaml);

describe("constitutionHash", () => {
  it("is the SHA-256 of the canonical form", () => {
    // printf of the form with sorted keys, piped to sha256sum.
    expect(
      constitutionHash(
        parse(
          'name: c\nversion: "1"\nprinciples: [{ id: a, text: t, critiqueRequest: c, revisionRequest: r, preferenceQuestion: p }]',
        ),
      ),
    ).toBe("f2fe637dffdcff33ed89e1b93a8e4e7603b1f85a7d002137cfcc3139116b9c60");
  });
  it.each([
    [
      "order and layout",
      'version: "1"\nname: c\nprinciples:\n- {text: "Second.", checks: [{must: [x]}], weight: 2.0, id: b}\n- id: a # one\n  text: First.\n',
    ],
    ["a description", `description: Something.\n${yaml}`],
    ["a default that is written out", yaml.replace("First.", "First., weight: 1, use: both")],
    [
      "a derived request that is written out",
      yaml.replace(
        "First.",
        "First., critiqueRequest: 'Say in which ways the assistant''s last response departs from this principle: First.'",
      ),
    ],
  ])("does not change with %s", (_, text) => expect(constitutionHash(parse(text))).toBe(constitutionHash(base)));
  it.each([
    ["the name", "name: c", "name: d"],
    ["the version", '"1"', '"2"'],
    ["a text", "First.", "First!"],
    ["a weight", "weight: 2", "weight: 3"],
    ["a check", "must: x", "must: y"],
    ["a check's severity", "{ must: x }", "{ must: x, severity: 0.5 }"],
    ["a principle's id", "id: a", "id: c"],
    ["a category", "text: First.", "text: First., category: k"],
  ])("changes with %s", (_, from, to) => {
    expect(constitutionHash(parse(yaml.replace(from, to)))).not.toBe(constitutionHash(base));
  });
});

describe("principleHash", () => {
  it("changes with its principle only", () => {
    const changed = parse(yaml.replace("First.", "First!"));
    expect(principleHash(changed.principles[1]!)).toBe(principleHash(base.principles[1]!));
    expect(principleHash(changed.principles[0]!)).not.toBe(principleHash(base.principles[0]!));
  });
});

describe("diffConstitutions", () => {
  it("names what was added, removed and changed", () => {
    const after = parse(
      'name: c\nversion: "2"\nprinciples:\n  - { id: n, text: New. }\n  - { id: b, text: Second!, weight: 2, checks: [{ must: y }] }\n',
    );
    const diff = diffConstitutions(base, after);
    expect(diff.added.map(({ id }) => id)).toEqual(["n"]);
    expect(diff.removed.map(({ id }) => id)).toEqual(["a"]);
    expect(diff.changed).toMatchObject([
      {
        id: "b",
        fields: ["text", "critiqueRequest", "revisionRequest", "preferenceQuestion", "checks"],
        before: { text: "Second." },
        after: { text: "Second!" },
      },
    ]);
  });
  it("of a constitution with itself is empty", () => {
    expect(diffConstitutions(base, parse(yaml))).toEqual({ added: [], removed: [], changed: [] });
  });
});

describe("fromVotes", () => {
  const candidates = [
    { id: "free", text: "Respect freedom." },
    { id: "fair", text: "Be fair." },
    { id: "fun", text: "Be funny." },
  ];
  const votes = (group: string, candidate: string, agree: number, disagree: number, pass = 0): Vote[] =>
    [...Array(agree).fill("agree"), ...Array(disagree).fill("disagree"), ...Array(pass).fill("pass")].map(
      (vote, i) => ({
        person: `${group}${i}`,
        group,
        candidate,
        vote,
      }),
    );
  const all = [
    ...votes("north", "free", 8, 0),
    ...votes("south", "free", 5, 3),
    ...votes("north", "fair", 6, 1, 1),
    ...votes("south", "fair", 7, 0, 1),
    ...votes("north", "fun", 8, 0),
    ...votes("south", "fun", 1, 7),
  ];
  const options = { name: "people", version: "1" };

  it("takes what every group agrees on, weighted by the geometric mean of the groups' shares", () => {
    const { constitution, tallies } = fromVotes(candidates, all, options);
    expect(constitution.principles.map(({ id }) => id)).toEqual(["free", "fair"]);
    // (8+1)/(8+2) · (5+1)/(8+2); (6+1)/(8+2) · (7+1)/(8+2)
    expect(tallies[0]!.consensus).toBeCloseTo(0.9 * 0.6, 12);
    expect(constitution.principles[0]!.weight).toBeCloseTo(Math.sqrt(0.9 * 0.6), 12);
    expect(constitution.principles[1]!.weight).toBeCloseTo(Math.sqrt(0.7 * 0.8), 12);
    expect(tallies[2]).toMatchObject({ id: "fun", enters: false });
    expect(tallies[2]!.agreement.south).toBeCloseTo(0.2, 12);
  });
  it("asks for more with a higher threshold", () => {
    expect(
      fromVotes(candidates, all, { ...options, threshold: 0.65 }).constitution.principles.map(({ id }) => id),
    ).toEqual(["fair"]);
    expect(() => fromVotes(candidates, all, { ...options, threshold: 0.95 })).toThrow(/no candidate reaches/);
  });
  it("counts a person's last vote, by its weight", () => {
    const changed = { person: "p", group: "g", candidate: "free" } as const;
    const { tallies } = fromVotes(
      candidates,
      [
        { ...changed, vote: "disagree" },
        { ...changed, vote: "agree", weight: 4 },
      ],
      options,
    );
    expect(tallies[0]!.agreement.g).toBeCloseTo(5 / 6, 12);
    // Nobody said anything of it: ½ is no agreement.
    expect(tallies[1]).toMatchObject({ agreement: { g: 0.5 }, votes: { g: 0 }, enters: false });
  });
  it("does not depend on the order of votes of different people", () => {
    expect(fromVotes(candidates, all.toReversed(), options)).toEqual(fromVotes(candidates, all, options));
  });
  it.each<[string, Vote[], RegExp]>([
    [
      "an unknown candidate",
      [{ person: "p", group: "g", candidate: "fiar", vote: "agree" }],
      /"fiar". Did you mean "fair"\?/,
    ],
    [
      "a person in two groups",
      [
        { person: "p", group: "g", candidate: "fair", vote: "agree" },
        { person: "p", group: "h", candidate: "free", vote: "agree" },
      ],
      /one group for each person, got "g" and "h" for p/,
    ],
    [
      "a weight below 0",
      [{ person: "p", group: "g", candidate: "fair", vote: "agree", weight: -1 }],
      /weight ≥ 0.*got -1/,
    ],
    ["no votes", [], /at least one vote/],
  ])("refuses %s", (_, wrong, message) => {
    expect(() => fromVotes(candidates, wrong, options)).toThrow(message);
    expect(() => fromVotes(candidates, wrong, options)).toThrow(ConstitutionError);
  });
});
