import { useCallback, useEffect, useState } from "react";
import type { NextCandidate, VoteResults, VoteSets } from "../../src/api.ts";
import { post, readOnly, useGet, useWho } from "../data.ts";
import * as format from "../format.ts";
import { useKeys } from "../keys.tsx";
import { Copy, Empty, Loading, Scroll } from "../parts.tsx";
import { Link, navigate, useParameter } from "../route.tsx";
import { harmless, Passage } from "../text.tsx";

/** Sets of candidate principles that people vote on. */
export function VotesScreen() {
  const { data, error, busy } = useGet<VoteSets>("/api/votes");
  return (
    <section>
      <h1>Votes on principles</h1>
      <p className="muted">
        One candidate at a time: agree, disagree or pass. What every group agrees on becomes a principle, weighted by
        how much.
      </p>
      <Loading error={error} busy={busy && !data} what="the sets" />
      {data?.sets.length === 0 && <Empty>No set of candidates yet.</Empty>}
      <ul className="list">
        {data?.sets.map(({ id, name, candidates, votes, people, created }) => (
          <li key={id}>
            <Link to={`/constitutions/votes/${id}`}>{name}</Link>{" "}
            <small className="muted">
              {candidates} candidates, {votes} votes of {people} people · made {format.when(created)}
            </small>{" "}
            <Link to={`/constitutions/votes/${id}?tab=results`}>results</Link>
          </li>
        ))}
      </ul>
      {!readOnly && <NewSet />}
    </section>
  );
}

function NewSet() {
  const who = useWho();
  const [name, setName] = useState("What it should do");
  const [text, setText] = useState("");
  const [error, setError] = useState<Error>();
  const candidates = text
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);
  return (
    <form
      className="sheet"
      onSubmit={(event) => {
        event.preventDefault();
        post<{ id: string }>("/api/votes", { name, candidates, who }).then(
          ({ id }) => navigate(`/constitutions/votes/${id}`),
          setError,
        );
      }}
    >
      <h2>New set</h2>
      <label>
        Name <input required value={name} onChange={(event) => setName(event.target.value)} />
      </label>
      <label>
        Candidates, one a line
        <textarea rows={6} value={text} onChange={(event) => setText(event.target.value)} />
      </label>
      {who === "" && <p className="muted">First type your name above: it is written beside what you say.</p>}
      <Loading error={error} busy={false} what="" />
      <button type="submit" disabled={who === "" || candidates.length === 0}>
        Make the set
      </button>
    </form>
  );
}

const words = [
  ["agree", "1"],
  ["disagree", "2"],
  ["pass", "3"],
] as const;

export function VoteScreen({ id }: { id: string }) {
  const [tab] = useParameter("tab");
  return tab === "results" || readOnly ? <Results id={id} /> : <Vote id={id} />;
}

function Vote({ id }: { id: string }) {
  const who = useWho();
  const { data: set } = useGet<VoteResults>(`/api/votes/${id}`, { live: false });
  const [next, setNext] = useState<NextCandidate>();
  const [typed, setTyped] = useState("everybody");
  const [error, setError] = useState<Error>();
  const group = next?.group ?? typed;
  const ask = useCallback(
    async (what: "next" | "say" | "undo", more: object = {}) => {
      try {
        setNext(await post<NextCandidate>(`/api/votes/${id}/${what}`, { who, ...more }, { quiet: true }));
        setError(undefined);
      } catch (reason) {
        setError(reason as Error);
      }
    },
    [id, who],
  );
  useEffect(() => {
    if (who !== "") void ask("next");
  }, [who, ask]);
  const say = (vote: string) =>
    next?.candidate && group.trim() !== "" && void ask("say", { candidate: next.candidate.id, vote, group });
  useKeys({
    ...Object.fromEntries(words.map(([vote, key]) => [key, [vote, () => say(vote)] as const])),
    u: ["take the last vote back", () => void ask("undo")],
  });
  if (who === "") return <Empty>First type your name above: it is written beside what you say.</Empty>;
  if (!next) return <Loading error={error} busy={true} what="the next candidate" />;
  return (
    <section className="desk">
      <h1>{set?.name ?? "Vote"}</h1>
      <p>
        <progress value={next.done} max={Math.max(1, next.total)} aria-label="voted on" />{" "}
        <small>
          {next.done} of {next.total} voted on
        </small>{" "}
        <Link to={`/constitutions/votes/${id}?tab=results`}>results</Link>
      </p>
      <label>
        I vote as one of{" "}
        <input value={group} disabled={next.group !== undefined} onChange={(event) => setTyped(event.target.value)} />
      </label>
      <Loading error={error} busy={false} what="" />
      {next.candidate ? (
        <>
          <div className="asked">
            <Passage text={next.candidate.text} />
          </div>
          <div className="choices">
            {words.map(([vote, key]) => (
              <button key={vote} type="button" onClick={() => say(vote)}>
                {vote} <kbd>{key}</kbd>
              </button>
            ))}
            <button type="button" className="quiet" onClick={() => void ask("undo")}>
              undo <kbd>u</kbd>
            </button>
          </div>
        </>
      ) : (
        <Empty>
          <p>You have voted on all {next.total}. Thank you.</p>
          <button type="button" onClick={() => void ask("undo")}>
            Take the last vote back
          </button>
        </Empty>
      )}
    </section>
  );
}

function Results({ id }: { id: string }) {
  const [threshold, setThreshold] = useParameter("threshold", "0.5");
  const { data, error, busy } = useGet<VoteResults>(`/api/votes/${id}?threshold=${threshold}`);
  if (!data) return <Loading error={error} busy={busy} what="the votes" />;
  const { name, candidates, groups, people, constitution, none } = data;
  return (
    <section>
      <h1>{name}</h1>
      <p>
        {people} {people === 1 ? "person" : "people"} in {groups.length} {groups.length === 1 ? "group" : "groups"}
        {!readOnly && (
          <>
            {" "}
            · <Link to={`/constitutions/votes/${id}`}>vote</Link>
          </>
        )}
      </p>
      <label>
        Share that has to agree in every group: {threshold}{" "}
        <input
          type="range"
          min="0"
          max="1"
          step="0.05"
          value={threshold}
          onChange={(event) => setThreshold(event.target.value)}
        />
      </label>
      <Scroll label="Candidates, as a table">
        <table>
          <thead>
            <tr>
              <th scope="col">Candidate</th>
              {groups.map((group) => (
                <th key={group} scope="col">
                  {group}
                </th>
              ))}
              <th scope="col">Weight</th>
            </tr>
          </thead>
          <tbody>
            {candidates.map(({ id: candidate, text, counts, agreement, weight, enters }) => (
              <tr key={candidate}>
                <th scope="row">{harmless(text)}</th>
                {groups.map((group) => (
                  <td key={group}>
                    {agreement && <b>{format.value(agreement[group]!)}</b>}{" "}
                    <small>
                      {counts[group]!.agree} agree, {counts[group]!.disagree} disagree, {counts[group]!.pass} pass
                    </small>
                  </td>
                ))}
                <td>{enters ? <b>{weight!.toFixed(3)}</b> : <span className="muted">does not enter</span>}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
      <p className="muted small">
        Shares are (agree + 1) / (votes + 2), so that few votes stay near ½; a weight is their geometric mean over
        groups.
      </p>
      {none && <p className="notice">{none}</p>}
      {constitution && (
        <>
          <h2>As a constitution</h2>
          <Copy text={constitution}>Copy the YAML</Copy>
          <pre>{harmless(constitution)}</pre>
        </>
      )}
    </section>
  );
}
