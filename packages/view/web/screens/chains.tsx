import { useState } from "react";
import type { Chain, Chains } from "../../src/api.ts";
import { post, readOnly, useGet, useWho } from "../data.ts";
import { useKeys } from "../keys.tsx";
import { Empty, Filters, Loading } from "../parts.tsx";
import { Further, navigate, RowLink, useParameter, useRoute, withSearch } from "../route.tsx";
import { Conversation, Passage, WordDiff } from "../text.tsx";
import { Search, saidInWords } from "./samples.tsx";

export function ChainsScreen({ run }: { run: string }) {
  const { search } = useRoute();
  const [show] = useParameter("show", "all");
  const [q, setQ] = useParameter("q");
  const query = new URLSearchParams(
    [...search].filter(([name, value]) => ["show", "q", "principle", "after"].includes(name) && value !== ""),
  );
  const { data, error, busy } = useGet<Chains>(`/api/runs/${run}/chains?${query}&limit=10`, { live: false });
  useKeys({
    n: ["further on", () => data?.next !== undefined && navigate(withSearch({ after: String(data.next) }))],
    "/": ["search", () => document.querySelector<HTMLInputElement>("input[type=search]")?.focus()],
  });
  return (
    <>
      <h2>Chains of critique and revision</h2>
      <Filters
        name="show"
        chosen={show}
        standard="all"
        label="Which chains"
        options={[
          { value: "all", label: "All" },
          { value: "changed", label: "A revision was taken" },
          { value: "unchanged", label: "None was taken" },
          { value: "rejected", label: "One was rejected" },
        ]}
      />
      <form className="tools" onSubmit={(event) => event.preventDefault()}>
        <Search q={q} setQ={setQ} />
      </form>
      <Loading error={error} busy={busy && !data} what="the chains" />
      {data?.chains.length === 0 && <Empty>No chain fits.</Empty>}
      {data?.chains.map((chain) => (
        <ChainCard key={chain.row} chain={chain} />
      ))}
      {data?.next !== undefined && <Further to={{ after: String(data.next) }} />}
    </>
  );
}

function ChainCard({ chain }: { chain: Chain }) {
  const [toFirst, setToFirst] = useState(false);
  const { responses, rounds, broken } = chain;
  let version = 0;
  return (
    <article className="chain">
      <header>
        <Conversation messages={chain.prompt} />
      </header>
      <div>
        <p className="role">First response {broken && <BrokenBy principles={broken[0]!} />}</p>
        <Passage text={responses[0]!} />
      </div>
      {responses.length > 2 && (
        <label className="small">
          <input type="checkbox" checked={toFirst} onChange={(event) => setToFirst(event.target.checked)} /> compare
          each revision with the first response
        </label>
      )}
      <ol>
        {rounds.map((round, i) => {
          const before = responses[toFirst ? 0 : version]!;
          const taken = round.rejected === undefined && round.revision !== undefined && version + 1 < responses.length;
          if (taken) version++;
          const now = version;
          return (
            <li key={i}>
              <h3>
                Round {i + 1}: {round.principle}
              </h3>
              <div className="two">
                <div>
                  <p className="role">Critique</p>
                  <Passage text={round.critique} />
                </div>
                <div>
                  <p className="role">
                    {taken ? "Revision" : `Kept as it was${round.rejected === undefined ? "" : `: ${round.rejected}`}`}{" "}
                    {taken && broken && <BrokenBy principles={broken[now]!} />}
                  </p>
                  {taken ? (
                    <WordDiff before={before} after={responses[now]!} />
                  ) : (
                    round.revision !== undefined &&
                    round.revision.trim() !== "" && (
                      <>
                        <p className="role">The revision that was not taken</p>
                        <Passage text={round.revision} />
                      </>
                    )
                  )}
                  {round.edits && (
                    <p className="muted small">taken away before it was judged: {round.edits.join("; ")}</p>
                  )}
                </div>
              </div>
            </li>
          );
        })}
      </ol>
      <p className="small">
        <RowLink id={chain.row} />
      </p>
      <Judgement chain={chain} />
    </article>
  );
}

function BrokenBy({ principles }: { principles: readonly string[] }) {
  return principles.length === 0 ? (
    <span className="muted">no check objects</span>
  ) : (
    <span className="bad">breaks {principles.join(", ")}</span>
  );
}

const judgements = ["better", "same", "mixed", "worse"] as const;

/** Whether the last version is better than the first, by a person. */
function Judgement({ chain }: { chain: Chain }) {
  const who = useWho();
  const said = chain.said.filter(({ kind }) => kind === "judgement");
  const own = said.find((one) => one.who === who)?.value;
  return (
    <div className="said">
      {said.map(({ kind, about, value, who: by }) => (
        <p key={by} className="small">
          <b>{by}</b>: {saidInWords(kind, about, value)}
        </p>
      ))}
      {!readOnly && who !== "" && chain.responses.length > 1 && (
        <p className="buttons">
          <span className="small">The last version is </span>
          {judgements.map((value) => (
            <button
              key={value}
              type="button"
              aria-pressed={own === value}
              onClick={() => void post("/api/annotations", { row: chain.row, kind: "judgement", value, who })}
            >
              {value}
            </button>
          ))}
        </p>
      )}
    </div>
  );
}
