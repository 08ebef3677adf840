import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { collectiveConstitution } from "./collective.ts";
import { parseConstitution } from "./load.ts";
import { opinionGroups } from "./opinion-groups.ts";
import { type PolisExport, type PolisParticipant, readPolis } from "./polis.ts";
import type { Vote } from "./votes.ts";
import { constitutionText } from "./write.ts";

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const options = { name: "people", version: "1", conversation: "test" };

interface Golden {
  statements: number;
  rejected: number;
  participants: number;
  grouped: number;
  consensus: Record<string, number>;
  weight: Record<string, number>;
  enters: string[];
}

async function equalsGolden(folder: string, golden: Golden) {
  const read = await readPolis(folder);
  expect(read.asides).toEqual([]);
  expect(read.participants).toHaveLength(golden.participants);
  expect(read.participants.filter(({ group }) => group !== undefined)).toHaveLength(golden.grouped);
  const { tallies, counts, merged } = collectiveConstitution(read, { ...options, alike: 1, threshold: 0 });
  expect(counts).toMatchObject({ statements: golden.statements, rejected: golden.rejected });
  expect(merged).toEqual([]);
  expect(tallies.map(({ id }) => id.replace("statement-", "")).sort()).toEqual(Object.keys(golden.consensus).sort());
  for (const { id, consensus, weight } of tallies) {
    const statement = id.replace("statement-", "");
    expect(consensus).toBeCloseTo(golden.consensus[statement]!, 12);
    expect(weight).toBeCloseTo(golden.weight[statement]!, 12);
  }
  const agreed = tallies.filter((one) => one.enters && Object.values(one.agreement).every((share) => share >= 0.5));
  const ids = agreed.map(({ id }) => id.replace("statement-", ""));
  expect(ids.sort((a, b) => Number(a) - Number(b))).toEqual(golden.enters);
}

it("the consensus is what pandas makes of the export", async () => {
  await equalsGolden(
    here("polis.golden.export"),
    JSON.parse(await readFile(here("polis.golden.json"), "utf8")) as Golden,
  );
});

// A real export, which is not ours to keep: its folder, with the summary.csv in which Polis counts it.
const { TENET_POLIS: real, TENET_POLIS_GOLDEN: figures } = process.env;

it.skipIf(real === undefined)(
  "a real export has the voters and groups that Polis counts; Seattle's has the known figures (TENET_POLIS: its folder)",
  async () => {
    const summary = await readFile(join(real!, "summary.csv"), "utf8");
    const counted = (name: string) => Number(new RegExp(`^${name},(\\d+)$`, "m").exec(summary)?.[1]);
    const read = await readPolis(real!);
    const groups = new Set(read.participants.flatMap(({ group }) => group ?? []));
    expect({ voters: read.participants.length, groups: groups.size, asides: read.asides }).toEqual({
      ...{ voters: counted("voters-in-conv"), groups: counted("groups"), asides: [] },
    });
    // "$15/hour" of Polis's open data (github.com/compdemocracy/openData, 15-per-hour-seattle).
    if (!summary.includes("\nurl,https://pol.is/2demo\n")) return;
    expect([read.statements.length, read.participants.length, groups.size]).toEqual([54, 339, 2]);
    expect(() => collectiveConstitution(read, options)).toThrow(/no candidate reaches an agreement of 0\.5/);
    const { counts, document } = collectiveConstitution(read, { ...options, threshold: 0.45 });
    // Two voted on nothing but what a moderator turned down.
    expect(counts).toEqual({ statements: 54, rejected: 23, voters: 337, leftOut: 199, clustered: 0 });
    expect(document.principles).toHaveLength(2);
  },
);

it.skipIf(real === undefined || figures === undefined)(
  "the consensus of a real one is what pandas makes of it (TENET_POLIS; TENET_POLIS_GOLDEN: the figures by polis.golden.py)",
  async () => {
    await equalsGolden(real!, JSON.parse(await readFile(figures!, "utf8")) as Golden);
  },
);

const person = (id: string, group: string | undefined, votes: Record<string, Vote["vote"]>): PolisParticipant => ({
  id,
  ...(group === undefined ? {} : { group }),
  votes: new Map(Object.entries(votes)),
});
const statement = (id: string, text: string, rejected = false) => ({ id, text, rejected });

describe("collectiveConstitution", () => {
  const read: PolisExport = {
    statements: [
      statement("1", "The assistant should always be honest with people."),
      statement("2", "the assistant should ALWAYS be honest with people"),
      statement("3", "It should joke."),
      statement("4", "Spam.", true),
    ],
    participants: [
      person("a", "0", { 1: "agree", 2: "agree", 3: "disagree", 4: "agree" }),
      person("b", "0", { 2: "agree", 3: "disagree" }),
      person("c", "1", { 1: "agree", 2: "disagree", 3: "agree" }),
      person("d", undefined, { 1: "agree", 2: "agree", 3: "agree" }),
    ],
    asides: [],
  };

  it("takes near-duplicates for one, in which each person has one vote", () => {
    const { merged, tallies, counts } = collectiveConstitution(read, { ...options, threshold: 0.3 });
    expect(merged).toEqual([["2", "1"]]);
    // Group 0: two agree, (2+1)/(2+2); group 1: who contradicts themself passes, (0+1)/(1+2).
    expect(tallies[0]).toMatchObject({ id: "statement-2", agreement: { 0: 0.75, 1: 1 / 3 }, votes: { 0: 2, 1: 1 } });
    expect(counts).toEqual({ statements: 4, rejected: 1, voters: 4, leftOut: 1, clustered: 0 });
  });

  it("says of each principle where it comes from, in a file that reads back", () => {
    const { document, constitution } = collectiveConstitution(read, { ...options, threshold: 0.3 });
    expect(document.principles.map(({ source }) => source)).toEqual([
      "statement 2, with statement 1 of test; group 0: 0.750 of 2 votes; group 1: 0.333 of 1 votes",
    ]);
    const text = constitutionText(document, { heading: ["By four people."] });
    expect(text).toMatch(/^# By four people\.\nname: people\n/);
    expect(parseConstitution(text, { file: "people.yaml" }).value).toEqual(constitution);
  });
});

describe("opinionGroups", () => {
  const ids = Array.from({ length: 12 }, (_, i) => String(i));
  const minded = (id: string, group: string | undefined, mind: 1 | -1, votes = 12) => {
    const said = ids.slice(0, votes).map((one, i): [string, Vote["vote"]] => {
      const odd = i % 7 === 3;
      return [one, (mind === 1) !== odd ? "agree" : "disagree"];
    });
    return person(id, group, Object.fromEntries(said));
  };

  it("puts people beside those who voted alike", () => {
    const people = [
      minded("a", "0", 1),
      minded("b", "1", -1),
      minded("c", undefined, 1),
      minded("d", undefined, -1, 7),
      minded("e", undefined, 1, 6),
    ];
    expect(opinionGroups(people, { seed: 1 })).toEqual(
      new Map([
        ["c", "0"],
        ["d", "1"],
      ]),
    );
  });

  it("finds the groups where there are none, the same whatever the seed where they lie apart", () => {
    const people = Array.from({ length: 20 }, (_, i) => minded(`p${i}`, undefined, i % 3 === 0 ? 1 : -1));
    for (const seed of [1, 2, 3]) {
      const groups = opinionGroups(people, { seed });
      expect(groups.size).toBe(20);
      for (const [i, { id }] of people.entries()) expect(groups.get(id)).toBe(i % 3 === 0 ? "1" : "0");
    }
  });
});

describe("readPolis", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "tenet-polis-"));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));
  const write = async (comments: string, votes: string) => {
    await writeFile(join(folder, "comments.csv"), comments);
    await writeFile(join(folder, "participants-votes.csv"), votes);
  };

  it("sets aside what it cannot read, and counts it", async () => {
    await write(
      "comment-id,moderated,comment-body\n0,1,Be kind\n1,2,Be bold\n2,1,\n",
      "participant,group-id,0\np,0,1\nq,0,yes\n",
    );
    const { statements, participants, asides } = await readPolis(folder);
    expect(statements).toEqual([statement("0", "Be kind")]);
    expect(participants.map(({ id }) => id)).toEqual(["p"]);
    expect(asides.map(({ reason }) => reason)).toEqual([
      expect.stringMatching(/moderated is "2"/),
      "an empty statement",
      expect.stringMatching(/"yes" on statement 0/),
    ]);
  });

  it("says which column is missing", async () => {
    await write("comment-id,comment-body\n0,Be kind\n", "participant,group-id,0\np,0,1\n");
    await expect(readPolis(folder)).rejects.toThrow(/comments\.csv has no column moderated/);
  });
});
