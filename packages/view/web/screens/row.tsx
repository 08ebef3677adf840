import { useEffect, useRef } from "react";
import type { RowDetail } from "../../src/api.ts";
import { useGet } from "../data.ts";
import * as format from "../format.ts";
import { Command, Loading } from "../parts.tsx";
import { Link, navigate, RowLink, withSearch } from "../route.tsx";
import { harmless } from "../text.tsx";
import { saidInWords } from "./samples.tsx";

/** Where a row comes from and what was made of it, on whatever screen one is. */
export function RowDrawer({ id }: { id: string }) {
  const drawer = useRef<HTMLElement>(null);
  useEffect(() => drawer.current?.focus(), [id]);
  return (
    <aside className="drawer" ref={drawer} tabIndex={-1} aria-label={`Row ${id}`}>
      <button type="button" className="quiet close" onClick={() => navigate(withSearch({ row: undefined }))}>
        Close <kbd>Esc</kbd>
      </button>
      <Row id={id} />
    </aside>
  );
}

export function Row({ id }: { id: string }) {
  const { data, error, busy } = useGet<RowDetail>(`/api/rows/${encodeURIComponent(id)}`);
  if (!data) return <Loading error={error} busy={busy} what="the row" />;
  const { row, stages, up, down, said, labels, principles } = data;
  return (
    <section className="provenance">
      <h2>Row {id}</h2>
      {stages.length > 0 && <Held stages={stages} />}
      {row && <Fields row={row} />}
      {principles.length > 0 && (
        <>
          <h3>Principles in force</h3>
          <dl>
            {principles.map(({ id: name, text }) => (
              <div key={name}>
                <dt>{name}</dt>
                <dd>{text}</dd>
              </div>
            ))}
          </dl>
        </>
      )}
      {(labels.length > 0 || said.length > 0) && (
        <>
          <h3>What people said</h3>
          {labels.map(({ who, p, time, note }) => (
            <p key={who}>
              <b>{who}</b>: {p > 0.5 ? "a is better" : p < 0.5 ? "b is better" : "no difference"}{" "}
              <small className="muted">{format.when(time)}</small> {note}
            </p>
          ))}
          {said.map(({ kind, about, value, who, time }) => (
            <p key={`${kind} ${about} ${who}`}>
              <b>{who}</b>: {saidInWords(kind, about, value)} <small className="muted">{format.when(time)}</small>
            </p>
          ))}
        </>
      )}
      <h3>Made from</h3>
      {up.length === 0 && <p className="muted">nothing that a run made: it comes from a file</p>}
      <ol className="rows">
        {up.map((parent) => (
          <li key={parent.id}>
            <RowLink id={parent.id} />{" "}
            <small className="muted">{parent.depth === 1 ? "one step back" : `${parent.depth} steps back`}</small>
            {parent.stages.length > 0 && <Held stages={parent.stages} />}
            {parent.row ? <Fields row={parent.row} /> : <p className="muted">not in this store</p>}
          </li>
        ))}
      </ol>
      <h3>Made of it</h3>
      {down.length === 0 && <p className="muted">nothing</p>}
      <ul className="rows">
        {down.map((made) => (
          <li key={`${made.run} ${made.stage} ${made.id}`}>
            <RowLink id={made.id} />{" "}
            <small className="muted">
              {made.stage} of {made.run}
            </small>
          </li>
        ))}
      </ul>
      <Command>{`tenet show latest --row ${id}`}</Command>
    </section>
  );
}

function Held({ stages }: { stages: RowDetail["stages"] }) {
  const [first, ...more] = stages;
  if (!first) return null;
  return (
    <p className="small">
      <Link to={`/runs/${first.run}/stages/${encodeURIComponent(first.stage)}`}>{first.stage}</Link> of{" "}
      <Link to={`/runs/${first.run}`}>{first.run}</Link>
      {more.length > 0 && <span className="muted"> and {more.length} more</span>}
    </p>
  );
}

/** A row's fields, and where it says that it comes from. */
function Fields({ row: { id: _, origin, ...fields } }: { row: Record<string, unknown> }) {
  const from = Object.entries((origin ?? {}) as Record<string, unknown>).filter(([name]) => name !== "parents");
  return (
    <dl className="facts">
      {[...Object.entries(fields), ...from].map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd dir="auto">{harmless(inWords(value))}</dd>
        </div>
      ))}
    </dl>
  );
}

function inWords(value: unknown): string {
  if (typeof value === "string") return value;
  if (Array.isArray(value) && value.every((turn) => typeof turn?.content === "string"))
    return value.map(({ role, content }) => (value.length === 1 ? content : `[${role}] ${content}`)).join("\n");
  return JSON.stringify(value, null, 1);
}
