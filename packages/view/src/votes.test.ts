import { fromVotes, parseConstitution } from "@tenet/align";
import { afterAll, expect, test } from "vitest";
import { Asking } from "../test/asking.ts";
import type { NextCandidate, Queues, VoteResults, VoteSets } from "./api.ts";

const asking = new Asking({ prompts: 4, done: 1 });
afterAll(() => asking.close());

const texts = ["Say whom to see.", "Give no doses.", "Be funny."];
const make = async () =>
  (await asking.post<{ id: string }>("/api/votes", { name: "Wishes", candidates: texts, who: "ann" })).id;
const next = (set: string, who: string) => asking.post<NextCandidate>(`/api/votes/${set}/next`, { who });
const say = (set: string, who: string, group: string, candidate: string, vote: string) =>
  asking.post<NextCandidate>(`/api/votes/${set}/say`, { who, group, candidate, vote });

test("candidates come one at a time; weights and what enters are those of fromVotes", async () => {
  const set = await make();
  const votes = [
    ["ann", "clinic", ["agree", "agree", "disagree"]],
    ["ben", "clinic", ["agree", "pass", "pass"]],
    ["eve", "patients", ["agree", "agree", "agree"]],
  ] as const;
  for (const [who, group, words] of votes) {
    let at = await next(set, who);
    for (const [i, vote] of words.entries()) {
      expect(at).toMatchObject({ done: i, total: 3, candidate: { text: texts[i] } });
      at = await say(set, who, group, at.candidate!.id, vote);
    }
    expect(at).toEqual({ done: 3, total: 3, group });
  }
  const expected = fromVotes(
    texts.map((text, i) => ({ id: `candidate-${i + 1}`, text })),
    votes.flatMap(([person, group, words]) =>
      words.map((vote, i) => ({ person, group, vote, candidate: `candidate-${i + 1}` })),
    ),
    { name: "Wishes", version: "1", threshold: 0.5 },
  );
  const found = await asking.get<VoteResults>(`/api/votes/${set}`);
  expect(found.candidates.map(({ weight, enters, agreement }) => ({ weight, enters, agreement }))).toEqual(
    expected.tallies.map(({ weight, enters, agreement }) => ({ weight, enters, agreement })),
  );
  expect(found.candidates[2]!.counts).toEqual({
    clinic: { agree: 0, disagree: 1, pass: 1 },
    patients: { agree: 1, disagree: 0, pass: 0 },
  });
  const read = parseConstitution(found.constitution!, { file: "votes.yaml" }).value;
  expect(read.principles).toEqual(expected.constitution.principles);
  const strict = await asking.get<VoteResults>(`/api/votes/${set}?threshold=0.95`);
  expect([strict.constitution, strict.none]).toEqual([undefined, expect.stringContaining("no candidate")]);
});

test("a vote is taken back; nobody votes as one of two groups; a set is no queue of pairs", async () => {
  const set = await make();
  await say(set, "ann", "clinic", "candidate-1", "agree");
  expect(
    (
      await asking.send(`/api/votes/${set}/say`, {
        who: "ann",
        group: "patients",
        candidate: "candidate-2",
        vote: "agree",
      })
    ).status,
  ).toBe(400);
  expect(await asking.post(`/api/votes/${set}/undo`, { who: "ann" })).toMatchObject({ done: 0 });
  await say(set, "ann", "patients", "candidate-1", "pass");
  expect(
    (await asking.send(`/api/votes/${set}/say`, { who: "ann", group: "patients", candidate: "none", vote: "agree" }))
      .status,
  ).toBe(404);
  const { sets } = await asking.get<VoteSets>("/api/votes");
  expect(sets.find(({ id }) => id === set)).toMatchObject({ candidates: 3, votes: 1, people: 1 });
  const { queues } = await asking.get<Queues>("/api/queues");
  expect(queues.map(({ id }) => id)).not.toContain(set);
  expect((await asking.request(`/api/queues/${set}/results`)).status).toBe(404);
  // A vote is no label.
  expect(asking.written.store.labels()).toEqual([]);
});
