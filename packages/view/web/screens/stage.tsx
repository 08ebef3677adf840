import type { Events, RowPage, RunPage } from "../../src/api.ts";
import { useGet } from "../data.ts";
import * as format from "../format.ts";
import { useKeys } from "../keys.tsx";
import { Command, Empty, Loading, Scroll, StatusChip } from "../parts.tsx";
import { Further, Link, navigate, RowLink, useParameter, useRoute, withSearch } from "../route.tsx";
import { harmless } from "../text.tsx";
import { Search } from "./samples.tsx";

/** One stage: its rows a page at a time, and what was set aside and why. */
export function StageScreen({ run, stage }: { run: string; stage: string }) {
  const { search } = useRoute();
  const [q, setQ] = useParameter("q");
  const after = search.get("after");
  const result = search.get("result");
  const query = new URLSearchParams({
    ...(q !== "" && { q }),
    ...(after !== null && { after }),
    ...(result !== null && { result }),
  });
  const { data, error, busy } = useGet<RowPage>(
    `/api/runs/${run}/stages/${encodeURIComponent(stage)}/rows?${query}&limit=50`,
  );
  useKeys({ n: ["further on", () => data?.next !== undefined && navigate(withSearch({ after: String(data.next) }))] });
  if (!data) return <Loading error={error} busy={busy} what="the stage" />;
  const { stage: line, rows, reasons, next, replaced } = data;
  return (
    <>
      <h2>{line.name}</h2>
      <p>
        <StatusChip status={line.status} />{" "}
        <span className="muted">
          {line.kind} · {format.count(line.rows)} rows · {format.count(line.aside)} set aside ·{" "}
          {line.shared ? "taken from another run" : format.seconds(line.seconds)}
        </span>
      </p>
      {replaced !== undefined && (
        <p className="notice warn">
          A result that a later one replaced {format.when(replaced)}.{" "}
          <Link to={withSearch({ result: undefined, after: undefined })}>What stands now</Link>
        </p>
      )}
      {line.error && <p className="notice bad">{line.error}</p>}
      <p className="small muted">
        identity <code>{line.identity}</code>
      </p>
      <Command>{`tenet show ${run} "${stage}"`}</Command>
      {reasons.length > 0 && (
        <section>
          <h3>Set aside</h3>
          <ul>
            {reasons.map(({ reason, count }) => (
              <li key={reason}>
                {format.count(count)} × {harmless(reason)}
              </li>
            ))}
          </ul>
        </section>
      )}
      {line.rows > 0 && (
        <form className="tools" onSubmit={(event) => event.preventDefault()}>
          <Search q={q} setQ={setQ} />
        </form>
      )}
      {rows.length === 0 && <Empty>{line.rows === 0 ? "This stage keeps no rows." : "No row fits."}</Empty>}
      <ol className="rows" start={1}>
        {rows.map(({ ordinal, row }) => (
          <li key={row.id} value={ordinal + 1}>
            <RowLink id={row.id} />
            <pre>{harmless(shortened(row))}</pre>
          </li>
        ))}
      </ol>
      {next !== undefined && <Further to={{ after: String(next) }} />}
    </>
  );
}

function shortened({ id: _, origin: __, ...row }: Record<string, unknown>): string {
  const text = JSON.stringify(row, null, 1);
  return text.length > 1200 ? `${text.slice(0, 1200)} …` : text;
}

export function LogScreen({ run }: { run: string }) {
  const { data: page } = useGet<RunPage>(`/api/runs/${run}`);
  const [after] = useParameter("after", "0");
  const { data, error, busy } = useGet<Events>(`/api/runs/${run}/events?after=${after}`);
  const last = data?.events.at(-1)?.sequence;
  if (!data) return <Loading error={error} busy={busy} what="the log" />;
  return (
    <>
      <h2>Log</h2>
      <Scroll label="Log">
        <table>
          <thead>
            <tr>
              <th scope="col">Time</th>
              <th scope="col">Stage</th>
              <th scope="col">What</th>
            </tr>
          </thead>
          <tbody>
            {data.events.map(({ sequence, time, stage, kind, message, data: more }) => (
              <tr key={sequence}>
                <td>{time.slice(0, 19).replace("T", " ")}</td>
                <td>{stage}</td>
                <td>
                  {message !== undefined
                    ? harmless(message)
                    : `${kind} ${(more as { status?: string } | undefined)?.status ?? ""}`}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
      {data.events.length === 500 && (
        <button type="button" onClick={() => navigate(withSearch({ after: String(last) }))}>
          Further on
        </button>
      )}
      {page && (
        <>
          <h2>What it cost</h2>
          <Scroll label="What it cost">
            <table>
              <thead>
                <tr>
                  <th scope="col">Stage</th>
                  <th scope="col">Role</th>
                  <th scope="col">Calls</th>
                  <th scope="col">Tokens read</th>
                  <th scope="col">Tokens written</th>
                  <th scope="col">Time</th>
                  <th scope="col">Dollars</th>
                </tr>
              </thead>
              <tbody>
                {page.usage.map(({ stage, role, calls, promptTokens, completionTokens, seconds, dollars }) => (
                  <tr key={`${stage} ${role}`}>
                    <th scope="row">{stage}</th>
                    <td>{role}</td>
                    <td>{format.count(calls)}</td>
                    <td>{format.count(promptTokens)}</td>
                    <td>{format.count(completionTokens)}</td>
                    <td>{format.seconds(seconds)}</td>
                    <td>{dollars === undefined ? "no price" : format.dollars(dollars)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </Scroll>
          <h2>Recipe</h2>
          <p className="muted small">
            {Object.entries(page.versions)
              .map(([program, version]) => `${program} ${version}`)
              .join(", ")}
          </p>
          <pre>{JSON.stringify(page.recipe, null, 2)}</pre>
        </>
      )}
    </>
  );
}
