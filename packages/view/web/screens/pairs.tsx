import { useEffect, useState } from "react";
import { type Pair, type PairCounts, type Pairs, pairSorts } from "../../src/api.ts";
import { post, readOnly, useGet, useWho } from "../data.ts";
import * as format from "../format.ts";
import { useKeys } from "../keys.tsx";
import { Empty, Filters, Loading } from "../parts.tsx";
import { Further, Link, navigate, RowLink, useParameter, useRoute, withSearch } from "../route.tsx";
import { Conversation, harmless, Passage } from "../text.tsx";
import { Search } from "./samples.tsx";

const sortWords: Record<(typeof pairSorts)[number], string> = {
  order: "as they were made",
  uncertain: "least sure first",
  position: "orders disagree most",
  people: "people disagree most",
  checks: "checks disagree most",
};
const labelWords: Record<string, string> = {
  ai: "by a model",
  check: "by the checks",
  human: "by people",
  ranking: "by public rankings",
  contrast: "by construction",
};
const limit = 20;

export function PairsScreen({ run }: { run: string }) {
  const { search } = useRoute();
  const [sort, setSort] = useParameter("sort", "order");
  const [label] = useParameter("label");
  const [q, setQ] = useParameter("q");
  const [from] = useParameter("from", "0");
  const query = new URLSearchParams(
    [...search].filter(
      ([name, value]) => ["sort", "label", "q", "from", "stage", "principle"].includes(name) && value !== "",
    ),
  );
  const { data, error, busy } = useGet<Pairs>(`/api/runs/${run}/pairs?${query}&limit=${limit}`, { live: false });
  const stage = search.get("stage");
  const { data: counts } = useGet<PairCounts>(
    `/api/runs/${run}/pairs/counts${stage === null ? "" : `?stage=${encodeURIComponent(stage)}`}`,
    { live: false },
  );
  const [at, setAt] = useState(0);
  useEffect(() => setAt(0), [search.toString()]);
  const pairs = data?.pairs ?? [];
  const next = Number(from) + limit;
  const move = (by: number) => {
    const now = Math.min(pairs.length - 1, Math.max(0, at + by));
    setAt(now);
    document.getElementById(`pair-${now}`)?.scrollIntoView({ block: "nearest" });
  };
  useKeys({
    j: ["next pair", () => move(1)],
    k: ["previous pair", () => move(-1)],
    o: ["where the label comes from", () => pairs[at] && navigate(withSearch({ row: pairs[at].row }))],
    n: ["further on", () => data && next < data.total && navigate(withSearch({ from: String(next) }))],
    "/": ["search", () => document.querySelector<HTMLInputElement>("input[type=search]")?.focus()],
  });
  const all = counts && Object.values(counts.labels).reduce((sum, count) => sum + count, 0);
  return (
    <>
      <h2>Pairs and their labels</h2>
      <p className="muted">
        What is shown here says what the machine thinks. To judge before seeing it:{" "}
        <Link to={`/review?run=${run}`}>review</Link>.
      </p>
      {data && (
        <Filters
          name="label"
          chosen={label}
          standard=""
          label="Whose labels"
          options={[
            { value: "", label: "All", count: all },
            ...Object.entries(counts?.labels ?? {}).map(([value, count]) => ({
              value,
              label: labelWords[value] ?? value,
              count,
            })),
          ]}
        />
      )}
      <form className="tools" onSubmit={(event) => event.preventDefault()}>
        <Search q={q} setQ={setQ} />
        <label>
          Order{" "}
          <select value={sort} onChange={(event) => setSort(event.target.value)}>
            {pairSorts.map((value) => (
              <option key={value} value={value}>
                {sortWords[value]}
              </option>
            ))}
          </select>
        </label>
      </form>
      <Loading error={error} busy={busy && !data} what="the pairs" />
      {data && pairs.length === 0 && (
        <Empty>{all === 0 ? "No pair of this run has a label yet." : "No pair fits."}</Empty>
      )}
      {pairs.map((pair, i) => (
        <PairCard key={pair.row} pair={pair} id={`pair-${i}`} current={i === at} />
      ))}
      {data && next < data.total && (
        <Further to={{ from: String(next) }}>
          Further on: {format.count(next + 1)} of {format.count(data.total)}
        </Further>
      )}
    </>
  );
}

function PairCard({ pair, id, current }: { pair: Pair; id: string; current: boolean }) {
  const { prompt, a, b, p, label, readings, steps, human, broken, followsPosition } = pair;
  const replaced = steps.flatMap(({ step, instead }) =>
    step === "human" && instead ? [instead as { label: string; p: number }] : [],
  );
  return (
    <article className={`sample ${current ? "current" : ""}`} id={id}>
      <header>
        <Conversation messages={prompt} />
      </header>
      <div className="replies">
        {(["a", "b"] as const).map((side) => (
          <section key={side} className={`reply ${(side === "a") === p > 0.5 && p !== 0.5 ? "preferred" : ""}`}>
            <h3>
              {side === "a" ? "A" : "B"}
              {p !== 0.5 && (side === "a") === p > 0.5 && " · preferred"}
            </h3>
            <Passage text={side === "a" ? a : b} />
            {broken && (
              <p className="small">
                {broken[side].length === 0 ? (
                  <span className="muted">no check objects</span>
                ) : (
                  <span className="bad">breaks {broken[side].join(", ")}</span>
                )}
              </p>
            )}
          </section>
        ))}
      </div>
      <p>
        <b>{p > 0.5 ? "A is better" : p < 0.5 ? "B is better" : "Neither is better"}</b>{" "}
        <span className="muted">
          {labelWords[label] ?? label}, p that A is better {p.toFixed(2)}
        </span>{" "}
        <PreferenceBar p={p} />
        {followsPosition && <span className="chip warn">follows the position</span>}
      </p>
      {replaced.map((instead) => (
        <p key={instead.label} className="small">
          <s>
            {labelWords[instead.label] ?? instead.label}: p = {instead.p.toFixed(2)}
          </s>{" "}
          people said otherwise
        </p>
      ))}
      {human.map(({ who, p: said, note, time }) => (
        <p key={who} className="small">
          <b>{who}</b> said {said > 0.5 ? "A" : said < 0.5 ? "B" : "no difference"}{" "}
          <span className="muted">{format.when(time)}</span> {note}
        </p>
      ))}
      {(readings.length > 0 || steps.length > 0) && (
        <details>
          <summary>How the label came about</summary>
          {readings.length > 0 && (
            <table>
              <thead>
                <tr>
                  <th scope="col">Principle</th>
                  <th scope="col">Shown first</th>
                  <th scope="col">ln P(A)</th>
                  <th scope="col">ln P(B)</th>
                  <th scope="col">p that a is better</th>
                </tr>
              </thead>
              <tbody>
                {readings.map(({ principle, first, logprobs, p: read, reasoning }, i) => (
                  <tr key={i}>
                    <th scope="row">
                      {principle}
                      {reasoning && (
                        <details>
                          <summary>reasoning</summary>
                          <Passage text={reasoning} />
                        </details>
                      )}
                    </th>
                    <td>{first}</td>
                    <td>{logprobs?.[0].toFixed(3)}</td>
                    <td>{logprobs?.[1].toFixed(3)}</td>
                    <td>{read.toFixed(3)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          )}
          {steps.map((step, i) => (
            <pre key={i}>{harmless(JSON.stringify(step, null, 1))}</pre>
          ))}
        </details>
      )}
      <p className="small">
        <RowLink id={pair.row}>label {pair.row}</RowLink> · <RowLink id={pair.pair}>pair {pair.pair}</RowLink>
      </p>
      {!readOnly && <Override pair={pair} />}
    </article>
  );
}

function PreferenceBar({ p }: { p: number }) {
  return (
    <svg className="preference" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
      <rect className="track" x="0" y="0" width="100" height="8" />
      <rect className="range" x={Math.min(50, 100 * p)} y="0" width={Math.abs(100 * p - 50)} height="8" />
      <rect className="point" x="49.7" y="0" width="0.6" height="8" />
    </svg>
  );
}

/** A person's word over the machine's, with why. The machine's stays. */
function Override({ pair }: { pair: Pair }) {
  const who = useWho();
  const [note, setNote] = useState("");
  const say = (p: number) => post("/api/labels", { pair: pair.pair, p, who, ...(note !== "" && { note }) });
  return (
    <details className="said">
      <summary>this label is wrong</summary>
      {who === "" ? (
        <p className="muted">First type your name above: it is written beside what you say.</p>
      ) : (
        <p className="buttons">
          <label>
            Why <input value={note} onChange={(event) => setNote(event.target.value)} />
          </label>
          <button type="button" onClick={() => void say(1)}>
            A is better
          </button>
          <button type="button" onClick={() => void say(0.5)}>
            No difference
          </button>
          <button type="button" onClick={() => void say(0)}>
            B is better
          </button>
        </p>
      )}
    </details>
  );
}
