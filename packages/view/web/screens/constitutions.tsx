import { useState } from "react";
import type { ConstitutionPage, Constitutions, Tried, WhatIf } from "../../src/api.ts";
import { post, ServerError, useAnswer, useGet } from "../data.ts";
import * as format from "../format.ts";
import { Empty, Estimate, Filters, Loading } from "../parts.tsx";
import { Link, RowLink, useParameter } from "../route.tsx";
import { harmless, Objection } from "../text.tsx";

export function ConstitutionsScreen() {
  const { data, error, busy } = useGet<Constitutions>("/api/constitutions");
  return (
    <section>
      <h1>Constitutions</h1>
      <p>
        <Link to="/constitutions/votes">Votes on principles</Link>: what people want, before it is one.
      </p>
      <Loading error={error} busy={busy && !data} what="the constitutions" />
      {data?.constitutions.length === 0 && <Empty>No run of this store was opened with a constitution yet.</Empty>}
      <ul className="list">
        {data?.constitutions.map(({ hash, name, version, principles, runs }) => (
          <li key={hash}>
            <Link to={`/constitutions/${hash.slice(0, 16)}`}>
              {name} {version}
            </Link>{" "}
            <small className="muted">
              {hash.slice(0, 8)} · {principles} principles · {runs.length} {runs.length === 1 ? "run" : "runs"}
            </small>
          </li>
        ))}
      </ul>
    </section>
  );
}

export function ConstitutionScreen({ hash }: { hash: string }) {
  const [tab] = useParameter("tab", "principles");
  const { data, error, busy } = useGet<ConstitutionPage>(`/api/constitutions/${hash}`, { live: false });
  if (!data) return <Loading error={error} busy={busy} what="the constitution" />;
  const { line } = data;
  return (
    <section>
      <h1>
        {line.name} {line.version}
      </h1>
      <p className="muted small">
        {line.hash.slice(0, 16)} · runs:{" "}
        {line.runs.map((run, i) => (
          <span key={run}>
            {i > 0 && ", "}
            <Link to={`/runs/${run}`}>{run}</Link>
          </span>
        ))}
      </p>
      <Filters
        name="tab"
        chosen={tab}
        standard="principles"
        label="Parts of the constitution"
        options={[
          { value: "principles", label: "Principles" },
          { value: "try", label: "Try a reply" },
          { value: "what-if", label: "What if a rule were otherwise" },
        ]}
      />
      {tab === "try" ? (
        <Try hash={line.hash} />
      ) : tab === "what-if" ? (
        <IfOtherwise page={data} />
      ) : (
        <Principles page={data} />
      )}
    </section>
  );
}

function Principles({ page: { principles, broken, confirmed } }: { page: ConstitutionPage }) {
  return (
    <ol className="principles">
      {principles.map(({ id, text, weight, category, checks }) => (
        <li key={id} className="panel">
          <h2>{id}</h2>
          <p>{text}</p>
          <p className="muted small">
            weight {weight}
            {category && ` · ${category}`}
          </p>
          {checks.length === 0 && <p className="muted">no check: a program cannot tell, so it is not measured</p>}
          <ul>
            {checks.map(({ name, severity, rule }) => (
              <li key={name}>
                {name} <small className="muted">severity {severity}</small>
                <details>
                  <summary>the rule</summary>
                  <pre>{harmless(JSON.stringify(rule, null, 1))}</pre>
                </details>
              </li>
            ))}
          </ul>
          {confirmed
            .filter(({ principle }) => principle === id)
            .map(({ rate }) => (
              <p key={id}>
                Of its objections, people confirm <Estimate figure={rate} />
              </p>
            ))}
          <table>
            <tbody>
              {broken
                .filter(({ principle }) => principle === id)
                .map(({ run, checkpoint, rate }) => (
                  <tr key={`${run} ${checkpoint}`}>
                    <th scope="row">
                      <Link to={`/runs/${run}/samples?principle=${encodeURIComponent(id)}`}>{run}</Link> {checkpoint}
                    </th>
                    <td>
                      broken in <Estimate figure={rate} />
                    </td>
                  </tr>
                ))}
            </tbody>
          </table>
        </li>
      ))}
    </ol>
  );
}

/** Every check on a text that somebody types. */
function Try({ hash }: { hash: string }) {
  const [prompt, setPrompt] = useState("");
  const [response, setResponse] = useState("");
  const asked = response === "" && prompt === "" ? undefined : { hash, prompt, response };
  const { data: tried, error } = useAnswer<Tried>("/api/checks", asked, 150);
  return (
    <div className="try">
      <label>
        What is asked
        <textarea rows={3} value={prompt} onChange={(event) => setPrompt(event.target.value)} />
      </label>
      <label>
        What is answered
        <textarea rows={6} value={response} onChange={(event) => setResponse(event.target.value)} />
      </label>
      <Loading error={error} busy={false} what="" />
      {tried && (
        <div role="status">
          <p>
            {tried.reward === undefined ? (
              "No check applies: nothing is known."
            ) : (
              <>
                Reward by the checks <b>{format.value(tried.reward, "number")}</b>{" "}
                <small className="muted">1: nothing broken, −1: everything that applies broken badly</small>
              </>
            )}
          </p>
          <ul className="verdicts">
            {tried.verdicts.map((verdict) => (
              <li key={`${verdict.principle} ${verdict.check}`}>
                {verdict.violated ? (
                  <Objection verdict={verdict} />
                ) : (
                  <span className="muted">
                    {verdict.applies ? "keeps to" : "does not apply:"} {verdict.principle}, {verdict.check} —{" "}
                    {harmless(verdict.why)}
                  </span>
                )}
              </li>
            ))}
          </ul>
        </div>
      )}
    </div>
  );
}

/** Another text of the constitution, and which verdicts on stored replies it would change. Nothing is saved. */
function IfOtherwise({ page }: { page: ConstitutionPage }) {
  const [text, setText] = useState(page.yaml);
  const [run, setRun] = useState(page.line.runs[0] ?? "");
  const [found, setFound] = useState<WhatIf>();
  const [error, setError] = useState<Error>();
  const [busy, setBusy] = useState(false);
  const ask = () => {
    setBusy(true);
    setError(undefined);
    post<WhatIf>("/api/what-if", { run, text }, { quiet: true })
      .then(setFound, setError)
      .finally(() => setBusy(false));
  };
  return (
    <div className="try">
      <p className="muted">
        Change a principle or a check, and see which verdicts on the stored replies would flip. The file stays as it is:
        copy the text into one to keep it.
      </p>
      <label>
        The constitution (YAML or JSON)
        <textarea
          rows={18}
          spellCheck={false}
          className="code"
          value={text}
          onChange={(event) => setText(event.target.value)}
        />
      </label>
      <p className="tools">
        <label>
          Replies of{" "}
          <select value={run} onChange={(event) => setRun(event.target.value)}>
            {page.line.runs.map((id) => (
              <option key={id}>{id}</option>
            ))}
          </select>
        </label>
        <button type="button" disabled={busy || run === ""} onClick={ask}>
          {busy ? "judging …" : "Judge again"}
        </button>
        <button type="button" className="quiet" onClick={() => void navigator.clipboard.writeText(text)}>
          Copy the text
        </button>
      </p>
      {error && (
        <div className="notice bad" role="alert">
          <p className="pre">{error.message}</p>
          {error instanceof ServerError && error.problems.length > 0 && (
            <p className="muted">{error.problems.length} problems</p>
          )}
        </div>
      )}
      {found && (
        <div role="status">
          <h2>
            {format.count(found.flips.length + found.more)} verdicts flip, of {format.count(found.replies)} replies
          </h2>
          <table>
            <thead>
              <tr>
                <th scope="col">Principle</th>
                <th scope="col">Checkpoint</th>
                <th scope="col">Broken now</th>
                <th scope="col">Would be</th>
              </tr>
            </thead>
            <tbody>
              {found.rates
                .filter(({ before, after }) => before?.value !== after?.value || before?.n !== after?.n)
                .map(({ principle, checkpoint, before, after }) => (
                  <tr key={`${principle} ${checkpoint}`}>
                    <th scope="row">{principle}</th>
                    <td>{checkpoint}</td>
                    <td>{before ? <Estimate figure={before} /> : <span className="muted">not measured</span>}</td>
                    <td>{after ? <Estimate figure={after} /> : <span className="muted">not measured</span>}</td>
                  </tr>
                ))}
            </tbody>
          </table>
          <ul className="rows">
            {found.flips.map(({ row, checkpoint, principle, prompt, response, before, after, why }) => (
              <li key={`${row} ${principle}`}>
                <p>
                  <b>{principle}</b>: {verdictWord(before)} →{" "}
                  <b className={after ? "bad" : "good"}>{verdictWord(after)}</b>{" "}
                  <small className="muted">{checkpoint}</small> <RowLink id={row} />
                </p>
                <p className="muted small" dir="auto">
                  {harmless(prompt.slice(0, 200))}
                </p>
                <p className="small" dir="auto">
                  {harmless(response.slice(0, 400))}
                </p>
                {why && <p className="muted small">{harmless(why)}</p>}
              </li>
            ))}
          </ul>
          {found.more > 0 && <p>and {format.count(found.more)} more</p>}
        </div>
      )}
    </div>
  );
}

const verdictWord = (broken: boolean | null) => (broken === null ? "does not apply" : broken ? "broken" : "kept");
