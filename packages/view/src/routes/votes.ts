import { randomBytes } from "node:crypto";
import { constitutionText, fromVotes, type Vote } from "@tenet/align";
import type { Queue } from "@tenet/runs";
import { Hono } from "hono";
import { z } from "zod";
import type { NextCandidate, VoteResults, VoteSets } from "../api.ts";
import type { ViewContext } from "../context.ts";
import { NotFoundError, RequestError } from "../errors.ts";

/*
 * People vote on candidate principles, one at a time: agree, disagree, pass. A set is a queue whose items are the candidates; what
 * every group agrees on becomes a constitution.
 */

const specSchema = z.object({
  task: z.literal("votes"),
  candidates: z.array(z.object({ id: z.string(), text: z.string() })),
});
const wordSchema = z.object({ vote: z.enum(["agree", "disagree", "pass"]), group: z.string() });
const name = z.string().trim().min(1).max(200);

const isVoteSet = ({ spec }: Queue) => spec.task === "votes";

function setNamed({ store }: ViewContext, id: string) {
  const found = store.queues().find((queue) => queue.id === id && isVoteSet(queue));
  if (!found) throw new NotFoundError(`there is no set of candidates ${JSON.stringify(id)} here`);
  return { ...found, ...specSchema.parse(found.spec) };
}

/** Votes that stand; of one person on one candidate the last. */
function votesOf({ store }: ViewContext, id: string): Vote[] {
  return store.answers(id).map(({ who, row, value }) => {
    const { vote, group } = wordSchema.parse(value);
    return { person: who, group, candidate: row, vote };
  });
}

export function voteRoutes(context: ViewContext): Hono {
  const { store } = context;
  const routes = new Hono();
  routes.get("/votes", (c) =>
    c.json<VoteSets>({
      sets: store
        .queues()
        .filter(isVoteSet)
        .map(({ id, name: title, items, created }) => {
          const votes = votesOf(context, id);
          return {
            ...{ id, name: title, candidates: items, created, votes: votes.length },
            people: new Set(votes.map(({ person }) => person)).size,
          };
        }),
    }),
  );

  routes.get("/votes/:set", (c) => {
    const set = setNamed(context, c.req.param("set"));
    const { threshold } = z.object({ threshold: z.coerce.number().min(0).max(1).default(0.5) }).parse(c.req.query());
    const votes = votesOf(context, set.id);
    const groups = [...new Set(votes.map(({ group }) => group))].sort();
    const counted = (candidate: string, group: string) => {
      const own = votes.filter((one) => one.candidate === candidate && one.group === group);
      const of = (vote: Vote["vote"]) => own.filter((one) => one.vote === vote).length;
      return { agree: of("agree"), disagree: of("disagree"), pass: of("pass") };
    };
    const told = {
      ...{ id: set.id, name: set.name, groups, threshold },
      people: new Set(votes.map(({ person }) => person)).size,
    };
    const lines = set.candidates.map(({ id, text }) => ({
      ...{ id, text },
      counts: Object.fromEntries(groups.map((group) => [group, counted(id, group)])),
    }));
    if (votes.length === 0) return c.json<VoteResults>({ ...told, candidates: lines });
    try {
      const drawn = fromVotes(set.candidates, votes, { name: set.name, version: "1", threshold });
      const tallies = new Map(drawn.tallies.map((tally) => [tally.id, tally]));
      return c.json<VoteResults>({
        ...told,
        candidates: lines.map((line) => {
          const { agreement, weight, enters } = tallies.get(line.id)!;
          return { ...line, agreement, weight, enters };
        }),
        constitution: constitutionText(drawn.document),
      });
    } catch (error) {
      if ((error as Error).name !== "ConstitutionError") throw error;
      return c.json<VoteResults>({ ...told, candidates: lines, none: (error as Error).message });
    }
  });
  return routes;
}

export function voteWrites(context: ViewContext): Hono {
  const { store, live } = context;
  const routes = new Hono();

  routes.post("/votes", async (c) => {
    const asked = z
      .object({ name, who: name, candidates: z.array(z.string().trim().min(1).max(2000)).min(1).max(500) })
      .parse(await c.req.json());
    const id = `votes-${randomBytes(4).toString("hex")}`;
    const candidates = asked.candidates.map((text, i) => ({ id: `candidate-${i + 1}`, text }));
    const items = candidates.map(({ id: row }) => ({ row }));
    store.addQueue({ id, name: asked.name, spec: { task: "votes", candidates }, items, who: asked.who });
    live.touch();
    return c.json({ id });
  });

  routes.post("/votes/:set/next", async (c) => {
    const { who } = z.object({ who: name }).parse(await c.req.json());
    return c.json<NextCandidate>(nextOf(setNamed(context, c.req.param("set")), who));
  });

  routes.post("/votes/:set/say", async (c) => {
    const set = setNamed(context, c.req.param("set"));
    const { who, candidate, ...word } = wordSchema
      .extend({ who: name, group: name, candidate: z.string() })
      .parse(await c.req.json());
    const before = votesOf(context, set.id).find(({ person }) => person === who)?.group;
    if (before !== undefined && before !== word.group)
      throw new RequestError(`${who} has voted as one of ${before}, and cannot vote as one of ${word.group} too`);
    store.addAnswer({ queue: set.id, row: candidate, who, value: word });
    live.touch();
    return c.json<NextCandidate>(nextOf(set, who));
  });

  routes.post("/votes/:set/undo", async (c) => {
    const { who } = z.object({ who: name }).parse(await c.req.json());
    const set = setNamed(context, c.req.param("set"));
    store.undoAnswer(set.id, who);
    live.touch();
    return c.json<NextCandidate>(nextOf(set, who));
  });

  function nextOf(set: ReturnType<typeof setNamed>, who: string): NextCandidate {
    const own = votesOf(context, set.id).filter(({ person }) => person === who);
    const said = new Set(own.map(({ candidate }) => candidate));
    const candidate = set.candidates.find(({ id }) => !said.has(id));
    return {
      done: said.size,
      total: set.candidates.length,
      ...(own[0] && { group: own[0].group }),
      ...(candidate && { candidate }),
    };
  }
  return routes;
}
