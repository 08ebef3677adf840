import { useEffect, useRef, useState } from "react";
import type { RunSummary, Runs, TimeLeft } from "../../src/api.ts";
import { post, readOnly, useGet, useWho } from "../data.ts";
import * as format from "../format.ts";
import { useKeys } from "../keys.tsx";
import { Command, Empty, Estimate, Loading, ProgressBar, Scroll, StatusChip, ToneChip } from "../parts.tsx";
import { Link, navigate, useParameter } from "../route.tsx";

/** Runs that are drawn at once; a thousand would take a second. */
const portion = 25;

const sorts = {
  begun: (a: RunSummary, b: RunSummary) => (a.created < b.created ? 1 : -1),
  name: (a: RunSummary, b: RunSummary) => a.id.localeCompare(b.id),
  violations: (a: RunSummary, b: RunSummary) => lastRate(a) - lastRate(b),
  time: (a: RunSummary, b: RunSummary) => b.seconds - a.seconds,
} as const;

const lastRate = ({ violations }: RunSummary) => violations?.at(-1)?.value ?? Number.POSITIVE_INFINITY;

export function RunsScreen() {
  const { data, error, busy } = useGet<Runs>("/api/runs");
  const [q, setQ] = useParameter("q");
  const [sort, setSort] = useParameter("sort", "begun");
  const [archived, setArchived] = useParameter("archived");
  const [chosen, setChosen] = useState<readonly string[]>([]);
  const [at, setAt] = useState(-1);
  const [shown, setShown] = useState(portion);
  const runs = arranged(data?.runs ?? [], { q, sort, archived: archived !== "" });
  const move = (by: number) => setAt((now) => Math.min(runs.length - 1, Math.max(0, now + by)));
  useKeys({
    j: ["next run", () => move(1)],
    k: ["previous run", () => move(-1)],
    o: ["open the run", () => runs[at] && navigate(`/runs/${runs[at].id}`)],
    x: ["choose it, to compare", () => runs[at] && toggle(runs[at].id)],
    "/": ["search", () => document.querySelector<HTMLInputElement>("input[type=search]")?.focus()],
  });
  const toggle = (id: string) =>
    setChosen((now) => (now.includes(id) ? now.filter((one) => one !== id) : [...now, id].slice(-8)));
  const baseline = runs.find(({ note }) => note.baseline);
  return (
    <section>
      <h1>Runs</h1>
      <Loading error={error} busy={busy && !data} what="the runs" />
      {data?.runs.length === 0 && (
        <Empty>
          <p>No runs here yet. Two commands make one:</p>
          <p>
            <Command>tenet init my-desk</Command>
          </p>
          <p>
            <Command>tenet run my-desk/recipe.yaml</Command>
          </p>
        </Empty>
      )}
      {data && data.runs.length > 0 && (
        <>
          <form className="tools" onSubmit={(event) => event.preventDefault()}>
            <label>
              Search{" "}
              <input
                type="search"
                value={q}
                placeholder="name, tag, constitution, status"
                onChange={(event) => setQ(event.target.value)}
              />
            </label>
            <label>
              Sort by{" "}
              <select value={sort} onChange={(event) => setSort(event.target.value)}>
                {Object.keys(sorts).map((name) => (
                  <option key={name}>{name}</option>
                ))}
              </select>
            </label>
            <label>
              <input
                type="checkbox"
                checked={archived !== ""}
                onChange={(event) => setArchived(event.target.checked ? "1" : "")}
              />{" "}
              archived too
            </label>
            {chosen.length >= 2 && (
              <Link className="button" to={`/compare?runs=${chosen.join(",")}`}>
                Compare the {chosen.length} chosen
              </Link>
            )}
            {chosen.length === 1 && <span className="muted">choose one more to compare</span>}
          </form>
          {runs.length === 0 && <Empty>No run fits “{q}”.</Empty>}
          {runs.length > 0 && (
            <Scroll label="Runs, as a table">
              <table className="stack">
                <thead>
                  <tr>
                    <th scope="col">
                      <span className="visually-hidden">Compare</span>
                    </th>
                    <th scope="col">Run</th>
                    <th scope="col">Status</th>
                    <th scope="col">Replies that break a principle</th>
                    <th scope="col">Stages</th>
                    <th scope="col">Time</th>
                    <th scope="col">Tokens</th>
                    <th scope="col">Constitution</th>
                    <th scope="col">Begun</th>
                  </tr>
                </thead>
                <tbody>
                  {runs.slice(0, Math.max(shown, at + 1)).map((run, i) => (
                    <RunRow
                      key={run.id}
                      run={run}
                      current={i === at}
                      chosen={chosen.includes(run.id)}
                      toggle={() => toggle(run.id)}
                      baseline={baseline && baseline.id !== run.id ? baseline : undefined}
                    />
                  ))}
                </tbody>
              </table>
              {runs.length > shown && <More of={runs.length - shown} more={() => setShown((now) => now + portion)} />}
            </Scroll>
          )}
        </>
      )}
    </section>
  );
}

/** What comes into sight asks for more; so does a press of the button. */
function More({ of, more }: { of: number; more: () => void }) {
  const end = useRef<HTMLButtonElement>(null);
  const grow = useRef(more);
  grow.current = more;
  useEffect(() => {
    const seen = new IntersectionObserver((entries) => entries.some((one) => one.isIntersecting) && grow.current(), {
      rootMargin: "600px",
    });
    seen.observe(end.current!);
    return () => seen.disconnect();
  }, [of]);
  return (
    <button type="button" ref={end} onClick={more}>
      {format.count(of)} more
    </button>
  );
}

function arranged(
  all: readonly RunSummary[],
  { q, sort, archived }: { q: string; sort: string; archived: boolean },
): RunSummary[] {
  const words = q.toLowerCase().split(/\s+/).filter(Boolean);
  const order = sorts[sort as keyof typeof sorts] ?? sorts.begun;
  // The baseline stands first, then what is pinned.
  const rank = ({ note }: RunSummary) => (note.baseline ? 0 : note.pinned ? 1 : 2);
  return all
    .filter(({ note }) => archived || !note.archived)
    .filter((run) => words.every((word) => textOf(run).includes(word)))
    .sort((a, b) => rank(a) - rank(b) || order(a, b));
}

function textOf({ id, status, constitution, note, error }: RunSummary): string {
  return [id, status, constitution?.name, note.name, note.text, error, ...(note.tags ?? [])].join(" ").toLowerCase();
}

export function leftInWords({ seconds, unknown }: TimeLeft): string {
  const about = `about ${format.seconds(seconds)} left`;
  return unknown.length === 0 ? about : `${about}, and ${unknown.join(", ")}, of which nothing is known`;
}

function RunRow({
  run,
  current,
  chosen,
  toggle,
  baseline,
}: {
  run: RunSummary;
  current: boolean;
  chosen: boolean;
  toggle: () => void;
  baseline: RunSummary | undefined;
}) {
  const { id, status, error, violations = [], stages, note, constitution, progress, tone } = run;
  return (
    <tr className={current ? "current" : ""}>
      <td>
        <input type="checkbox" checked={chosen} onChange={toggle} aria-label={`choose ${id} to compare`} />
      </td>
      <th scope="row">
        <Link to={`/runs/${id}`}>{note.name ?? id}</Link>
        {note.name && <small>{id}</small>}
        <span className="tags">
          {note.baseline && <span className="tag">baseline</span>}
          {note.pinned && <span className="tag">pinned</span>}
          {(note.tags ?? []).map((tag) => (
            <span key={tag} className="tag">
              {tag}
            </span>
          ))}
        </span>
        {note.text && <small>{note.text}</small>}
      </th>
      <td data-label="Status">
        <StatusChip status={status} />
        {error && (
          <small className="reason" title={error}>
            {error}
          </small>
        )}
        {progress && <ProgressBar progress={progress} label={`progress of ${progress.stage}`} />}
        {run.timeLeft && <small>the whole run: {leftInWords(run.timeLeft)}</small>}
      </td>
      <td data-label="Breaks a principle">
        {run.pending && <small className="muted">being read …</small>}
        {violations.map((one) => (
          <div key={one.checkpoint}>
            {one.label} <Estimate figure={one} />
          </div>
        ))}
        {tone && <ToneChip tone={tone} />}
        {baseline && violations.length > 0 && (
          <small>
            <Link to={`/compare?runs=${baseline.id},${id}`}>against the baseline</Link>
          </small>
        )}
      </td>
      <td data-label="Stages">
        {stages.done} of {stages.planned ?? stages.begun}
      </td>
      <td data-label="Time" className="time">
        {format.seconds(run.seconds)}
      </td>
      <td data-label="Tokens">
        {format.count(run.tokens)}
        {run.dollars !== undefined && <small>{format.dollars(run.dollars)}</small>}
      </td>
      <td data-label="Constitution">
        {constitution && (
          <Link to={`/constitutions/${constitution.hash.slice(0, 16)}`}>
            {constitution.name} {constitution.version}
          </Link>
        )}
      </td>
      <td data-label="Begun" className="time">
        {format.when(run.created)}
      </td>
    </tr>
  );
}

/** What people note about a run, and how to change it. */
export function RunNotes({ run }: { run: RunSummary }) {
  const who = useWho();
  const { note } = run;
  const [open, setOpen] = useState(false);
  const [name, setName] = useState(note.name ?? "");
  const [text, setText] = useState(note.text ?? "");
  const [tags, setTags] = useState((note.tags ?? []).join(", "));
  if (readOnly) return null;
  const save = (changes: object) => post(`/api/runs/${run.id}/note`, { who: who || "somebody", note: changes });
  return (
    <div className="run-notes">
      <button
        type="button"
        className="quiet"
        aria-pressed={note.baseline === true}
        onClick={() => save({ baseline: !note.baseline })}
      >
        {note.baseline ? "Is the baseline" : "Set as baseline"}
      </button>
      <button
        type="button"
        className="quiet"
        aria-pressed={note.pinned === true}
        onClick={() => save({ pinned: !note.pinned })}
      >
        {note.pinned ? "Unpin" : "Pin"}
      </button>
      <button
        type="button"
        className="quiet"
        aria-pressed={note.archived === true}
        onClick={() => save({ archived: !note.archived })}
      >
        {note.archived ? "Take out of the archive" : "Archive"}
      </button>
      <button type="button" className="quiet" aria-expanded={open} onClick={() => setOpen(!open)}>
        Name, tags, note
      </button>
      {open && (
        <form
          className="sheet"
          onSubmit={(event) => {
            event.preventDefault();
            const list = tags
              .split(",")
              .map((tag) => tag.trim())
              .filter(Boolean);
            void save({ name, text, tags: list }).then(() => setOpen(false));
          }}
        >
          <label>
            Name <input value={name} onChange={(event) => setName(event.target.value)} />
          </label>
          <label>
            Tags, with commas between <input value={tags} onChange={(event) => setTags(event.target.value)} />
          </label>
          <label>
            Note <textarea rows={3} value={text} onChange={(event) => setText(event.target.value)} />
          </label>
          <button type="submit">Save</button>
        </form>
      )}
    </div>
  );
}
