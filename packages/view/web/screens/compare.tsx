import type { Compare, Metric, Runs } from "../../src/api.ts";
import { useGet } from "../data.ts";
import { Change, Empty, Estimate, Loading, Scroll } from "../parts.tsx";
import { Link, navigate, useParameter } from "../route.tsx";
import { harmless } from "../text.tsx";

export function CompareScreen() {
  const [a, setA] = useParameter("a");
  const [b, setB] = useParameter("b");
  const [q, setQ] = useParameter("q");
  const { data: runs } = useGet<Runs>("/api/runs");
  const both = a !== "" && b !== "";
  const { data, error, busy } = useGet<Compare>(
    both ? `/api/compare?a=${encodeURIComponent(a)}&b=${encodeURIComponent(b)}` : undefined,
    { live: false },
  );
  const choose = (label: string, value: string, set: (value: string) => void) => (
    <label>
      {label}{" "}
      <select value={value} onChange={(event) => set(event.target.value)}>
        <option value="">choose a run</option>
        {runs?.runs.map(({ id, note }) => (
          <option key={id} value={id}>
            {note.name ? `${note.name} (${id})` : id}
          </option>
        ))}
      </select>
    </label>
  );
  return (
    <section>
      <h1>Compare two runs</h1>
      <form className="tools" onSubmit={(event) => event.preventDefault()}>
        {choose("From", a, setA)}
        {choose("To", b, setB)}
        {both && (
          <button type="button" onClick={() => navigate(`/compare?a=${b}&b=${a}`)}>
            Turn round
          </button>
        )}
      </form>
      {!both && (
        <Empty>
          Choose two runs. Where they were asked the same held-out prompts, they are compared prompt by prompt.
        </Empty>
      )}
      {both && <Loading error={error} busy={busy && !data} what="both runs" />}
      {both && data && <Differences data={data} q={q} setQ={setQ} />}
    </section>
  );
}

const violations: Pick<Metric, "unit" | "change" | "better"> = { unit: "share", change: "difference", better: "lower" };

function Differences({ data, q, setQ }: { data: Compare; q: string; setQ: (q: string) => void }) {
  const settings = data.settings.filter(({ setting }) => setting.toLowerCase().includes(q.toLowerCase()));
  const [a, b] = data.runs;
  return (
    <>
      <section aria-labelledby="paired">
        <h2 id="paired">Replies that break a principle, from one to the other</h2>
        {data.paired ? (
          data.paired.map((one) => (
            <p key={one.checkpoint}>
              {one.checkpoint}: <Change figure={one} metric={violations} />{" "}
              <span className="muted">prompt by prompt, n {one.n}</span>
            </p>
          ))
        ) : (
          <p className="muted">
            Not compared prompt by prompt: the two were asked other held-out prompts, or judged by another constitution.
          </p>
        )}
      </section>
      <section aria-labelledby="measures">
        <h2 id="measures">Measures</h2>
        <Scroll label="Measures, as a table">
          <table>
            <thead>
              <tr>
                <th scope="col">Measure</th>
                <th scope="col">Checkpoint</th>
                <th scope="col">
                  <Link to={`/runs/${a}`}>{a}</Link>
                </th>
                <th scope="col">
                  <Link to={`/runs/${b}`}>{b}</Link>
                </th>
              </tr>
            </thead>
            <tbody>
              {data.scores.map(({ checkpoint, metric, label, unit, a: first, b: second }) => (
                <tr key={`${checkpoint} ${metric}`}>
                  <th scope="row">{label}</th>
                  <td>{checkpoint}</td>
                  <td>
                    {first ? <Estimate figure={first} unit={unit} /> : <span className="muted">not measured</span>}
                  </td>
                  <td>
                    {second ? <Estimate figure={second} unit={unit} /> : <span className="muted">not measured</span>}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </Scroll>
      </section>
      <section aria-labelledby="principles">
        <h2 id="principles">Principles</h2>
        <Scroll label="Principles, as a table">
          <table>
            <thead>
              <tr>
                <th scope="col">Principle</th>
                <th scope="col">Checkpoint</th>
                <th scope="col">{a}</th>
                <th scope="col">{b}</th>
              </tr>
            </thead>
            <tbody>
              {data.principles.map(({ principle, checkpoint, a: first, b: second }) => (
                <tr key={`${principle} ${checkpoint}`}>
                  <th scope="row">{principle}</th>
                  <td>{checkpoint}</td>
                  <td>
                    {first && (
                      <Link to={`/runs/${a}/samples?principle=${encodeURIComponent(principle)}`}>
                        <Estimate figure={first} />
                      </Link>
                    )}
                  </td>
                  <td>
                    {second && (
                      <Link to={`/runs/${b}/samples?principle=${encodeURIComponent(principle)}`}>
                        <Estimate figure={second} />
                      </Link>
                    )}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </Scroll>
      </section>
      <section aria-labelledby="settings">
        <h2 id="settings">Settings that differ</h2>
        <label>
          Filter <input type="search" value={q} onChange={(event) => setQ(event.target.value)} />
        </label>
        {settings.length === 0 && <p className="muted">none</p>}
        <Scroll label="Settings, as a table">
          <table>
            <tbody>
              {settings.map(({ setting, a: first, b: second }) => (
                <tr key={setting}>
                  <th scope="row">
                    <code>{setting}</code>
                  </th>
                  <td>
                    <code>{said(first)}</code>
                  </td>
                  <td>
                    <code>{said(second)}</code>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </Scroll>
        {data.constitution && (
          <p>
            Principles added: {data.constitution.added.join(", ") || "none"}; removed:{" "}
            {data.constitution.removed.join(", ") || "none"}; changed:{" "}
            {data.constitution.changed.map(({ id, fields }) => `${id} (${fields.join(", ")})`).join("; ") || "none"}
          </p>
        )}
      </section>
      <section aria-labelledby="stages">
        <h2 id="stages">Stages</h2>
        <ul className="columns">
          {data.stages.map(({ stage, state }) => (
            <li key={stage}>
              {stage} <small className="muted">{state}</small>
            </li>
          ))}
        </ul>
      </section>
    </>
  );
}

const said = (value: unknown) => (value === undefined ? "not set" : harmless(JSON.stringify(value)));
