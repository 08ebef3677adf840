import { type ReactNode, useState } from "react";
import { type Compare, type CompareSamples, compareShows, type Figure, type Metric, type Runs } from "../../src/api.ts";
import { useGet } from "../data.ts";
import * as format from "../format.ts";
import { Change, Copy, Empty, Estimate, Filters, Loading, Scroll } from "../parts.tsx";
import { Further, Link, navigate, RowLink, useParameter, useRoute } from "../route.tsx";
import { Conversation, harmless, marksOf, Passage, Verdicts } from "../text.tsx";

const most = 8;
const tabs = ["measures", "principles", "settings", "samples", "stages"] as const;
const tabWords: Record<(typeof tabs)[number], string> = {
  measures: "Measures",
  principles: "Principles",
  settings: "Settings",
  samples: "Replies",
  stages: "Stages",
};

export function CompareScreen() {
  const { search } = useRoute();
  // Of two runs, as addresses of before had it.
  const asked = search.get("runs") ?? [search.get("a"), search.get("b")].filter(Boolean).join(",");
  const chosen = asked.split(",").filter(Boolean);
  const [tab] = useParameter("tab", "measures");
  const { data: runs } = useGet<Runs>("/api/runs", { live: false });
  const enough = chosen.length >= 2;
  const { data, error, busy } = useGet<Compare>(
    enough ? `/api/compare?runs=${encodeURIComponent(chosen.join(","))}` : undefined,
    { live: false },
  );
  const set = (now: readonly string[]) =>
    navigate(`/compare?runs=${now.join(",")}${tab === "measures" ? "" : `&tab=${tab}`}`);
  return (
    <section>
      <h1>Compare runs</h1>
      <form className="tools" onSubmit={(event) => event.preventDefault()}>
        <ol className="chosen">
          {chosen.map((id, i) => (
            <li key={id}>
              <span>{i === 0 ? "against " : ""}</span>
              <Link to={`/runs/${id}`}>{id}</Link>{" "}
              {i > 0 && (
                <button
                  type="button"
                  className="quiet"
                  onClick={() => set([id, ...chosen.filter((one) => one !== id)])}
                >
                  compare with this<span className="visually-hidden"> {id}</span>
                </button>
              )}
              <button type="button" className="quiet" onClick={() => set(chosen.filter((one) => one !== id))}>
                leave out<span className="visually-hidden"> {id}</span>
              </button>
            </li>
          ))}
        </ol>
        {chosen.length < most && (
          <label>
            {chosen.length === 0 ? "From" : "Add"}{" "}
            <select value="" onChange={(event) => set([...chosen, event.target.value])}>
              <option value="">choose a run</option>
              {runs?.runs
                .filter(({ id }) => !chosen.includes(id))
                .map(({ id, note }) => (
                  <option key={id} value={id}>
                    {note.name ? `${note.name} (${id})` : id}
                  </option>
                ))}
            </select>
          </label>
        )}
      </form>
      {!enough && (
        <Empty>
          Choose two to {most} runs. Where they were asked the same held-out prompts, they are compared prompt by prompt
          with the first.
        </Empty>
      )}
      {enough && <Loading error={error} busy={busy && !data} what="the runs" />}
      {enough && data && (
        <>
          <Filters
            name="tab"
            chosen={tab}
            standard="measures"
            label="What is compared"
            options={tabs.map((value) => ({ value, label: tabWords[value] }))}
          />
          {tab === "measures" && <Measures data={data} />}
          {tab === "principles" && <Principles data={data} />}
          {tab === "settings" && <Settings data={data} />}
          {tab === "samples" && <SideBySide data={data} />}
          {tab === "stages" && <Stages data={data} />}
        </>
      )}
    </section>
  );
}

const violations: Pick<Metric, "unit" | "change" | "better"> = { unit: "share", change: "difference", better: "lower" };

/** A table with a column for each run behind those that say what a row is of. */
function RunTable({
  of,
  columns,
  runs,
  look,
  children,
}: {
  /** What it shows, for who cannot see it. */
  of: string;
  columns: readonly string[];
  runs: readonly string[];
  look?: string;
  /** Its rows. */
  children: ReactNode;
}) {
  return (
    <Scroll label={`${of}, as a table`}>
      <table className={look}>
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column} scope="col">
                {column}
              </th>
            ))}
            {runs.map((run) => (
              <th key={run} scope="col">
                <Link to={`/runs/${run}`}>{run}</Link>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </Scroll>
  );
}

function Measures({ data }: { data: Compare }) {
  return (
    <>
      <section aria-labelledby="paired">
        <h2 id="paired">Replies that break a principle, against {data.runs[0]}</h2>
        {data.runs.slice(1).map((run, i) => (
          <div key={run}>
            <h3>{run}</h3>
            {data.paired[i + 1] ? (
              data.paired[i + 1]!.map((one) => (
                <p key={one.checkpoint}>
                  {one.checkpoint}: <Change figure={one} metric={violations} />{" "}
                  <span className="muted">prompt by prompt, n {one.n}</span>
                </p>
              ))
            ) : (
              <p className="muted">
                Not compared prompt by prompt: it was asked other held-out prompts, or judged by another constitution.
              </p>
            )}
          </div>
        ))}
      </section>
      <section aria-labelledby="measures">
        <h2 id="measures">Measures</h2>
        <RunTable of="Measures" columns={["Measure", "Checkpoint"]} runs={data.runs}>
          {data.scores.map(({ checkpoint, metric, label, unit, values }) => (
            <tr key={`${checkpoint} ${metric}`}>
              <th scope="row">{label}</th>
              <td>{checkpoint}</td>
              {values.map((value, i) => (
                <td key={data.runs[i]}>
                  {value ? <Estimate figure={value} unit={unit} /> : <span className="muted">not measured</span>}
                </td>
              ))}
            </tr>
          ))}
        </RunTable>
      </section>
    </>
  );
}

/** Principles by run: the darker, the more often broken; the figure with its interval stands in each cell. */
function Principles({ data }: { data: Compare }) {
  return (
    <section aria-labelledby="principles">
      <h2 id="principles">How often each principle is broken</h2>
      <p className="muted">The stronger the colour, the more of the replies to which a check applies break it.</p>
      <RunTable of="Principles" columns={["Principle", "Checkpoint"]} runs={data.runs} look="heat">
        {data.principles.map(({ principle, checkpoint, values }) => (
          <tr key={`${principle} ${checkpoint}`}>
            <th scope="row">{principle}</th>
            <td>{checkpoint}</td>
            {values.map((value, i) => (
              <HeatCell
                key={data.runs[i]}
                figure={value}
                to={`/runs/${data.runs[i]}/samples?principle=${encodeURIComponent(principle)}`}
              />
            ))}
          </tr>
        ))}
      </RunTable>
    </section>
  );
}

/** Ten steps of one colour, told apart by the number in the cell as well. */
export function HeatCell({ figure, to }: { figure: Figure | null | undefined; to?: string }) {
  if (!figure) return <td className="muted">not measured</td>;
  const step = Math.min(9, Math.max(0, Math.floor(10 * figure.value)));
  return (
    <td className={`heat-${step}`}>
      {to === undefined ? (
        <Estimate figure={figure} />
      ) : (
        <Link to={to}>
          <Estimate figure={figure} />
        </Link>
      )}
    </td>
  );
}

function Settings({ data }: { data: Compare }) {
  const [q, setQ] = useParameter("q");
  const settings = data.settings.filter(({ setting }) => setting.toLowerCase().includes(q.toLowerCase()));
  return (
    <section aria-labelledby="settings">
      <h2 id="settings">Settings that differ</h2>
      <label>
        Filter <input type="search" value={q} onChange={(event) => setQ(event.target.value)} />
      </label>
      {settings.length === 0 && <p className="muted">none</p>}
      {settings.length > 0 && (
        <RunTable of="Settings" columns={["Setting"]} runs={data.runs}>
          {settings.map(({ setting, values }) => (
            <tr key={setting}>
              <th scope="row">
                <code>{setting}</code>
              </th>
              {values.map((value, i) => (
                <td key={data.runs[i]}>
                  {value === null ? <span className="muted">not set</span> : <code>{harmless(value)}</code>}
                </td>
              ))}
            </tr>
          ))}
        </RunTable>
      )}
      {data.runs.slice(1).map((run, i) => (
        <p key={run}>
          What makes the first {run}: <Copy text={patchOf(data, i + 1)}>Copy as YAML</Copy>
        </p>
      ))}
      {data.files.map(({ stage, hashes }) => (
        <p key={stage}>
          <b>{stage}</b>: other contents.{" "}
          {hashes.map((hash, i) => `${data.runs[i]} ${hash === null ? "none" : hash.slice(0, 8)}`).join(", ")}
        </p>
      ))}
      {data.constitutions.map(
        (changes, i) =>
          changes &&
          changes.added.length + changes.removed.length + changes.changed.length > 0 && (
            <p key={data.runs[i]}>
              Constitution of {data.runs[i]}: added {changes.added.join(", ") || "none"}; removed{" "}
              {changes.removed.join(", ") || "none"}; changed{" "}
              {changes.changed.map(({ id, fields }) => `${id} (${fields.join(", ")})`).join("; ") || "none"}
            </p>
          ),
      )}
    </section>
  );
}

/** Settings of a run that the first has otherwise, nested as in a recipe; JSON is YAML. Hashes are no settings. */
export function patchOf({ settings }: Compare, at: number): string {
  const patch: Record<string, unknown> = {};
  for (const { setting, values } of settings) {
    const [before, value] = [values[0], values[at]];
    if (value === null || value === undefined || value === before || setting === "constitutionHash") continue;
    const path = setting.split(".");
    let place = patch;
    for (const key of path.slice(0, -1)) {
      place[key] ??= {};
      place = place[key] as Record<string, unknown>;
    }
    place[path.at(-1)!] = JSON.parse(value);
  }
  return yamlOf(patch);
}

function yamlOf(value: Record<string, unknown>, indent = ""): string {
  return Object.entries(value)
    .map(([key, inner]) =>
      typeof inner === "object" && inner !== null && !Array.isArray(inner)
        ? `${indent}${key}:\n${yamlOf(inner as Record<string, unknown>, `${indent}  `)}`
        : `${indent}${key}: ${JSON.stringify(inner)}\n`,
    )
    .join("");
}

const showWords: Record<(typeof compareShows)[number], string> = {
  all: "All",
  different: "Verdicts differ",
  worse: "The first keeps, the last breaks",
  better: "The first breaks, the last keeps",
};

/** The same prompt, answered by the same checkpoint of each run. */
function SideBySide({ data }: { data: Compare }) {
  const { search } = useRoute();
  const checkpoints = [...new Set(data.scores.map(({ checkpoint }) => checkpoint))];
  const [checkpoint, setCheckpoint] = useParameter("checkpoint", checkpoints.at(-1) ?? "base");
  const [show] = useParameter("show", "all");
  const after = search.get("after") ?? "-1";
  const {
    data: found,
    error,
    busy,
  } = useGet<CompareSamples>(
    `/api/compare/samples?${new URLSearchParams({ runs: data.runs.join(","), checkpoint, show, after })}`,
    { live: false },
  );
  return (
    <section aria-labelledby="replies">
      <h2 id="replies">Replies of {checkpoint}, side by side</h2>
      <Filters
        name="show"
        chosen={show}
        standard="all"
        label="Which prompts"
        options={compareShows.map((value) => ({ value, label: showWords[value] }))}
      />
      <label>
        Checkpoint{" "}
        <select value={checkpoint} onChange={(event) => setCheckpoint(event.target.value)}>
          {checkpoints.map((one) => (
            <option key={one}>{one}</option>
          ))}
        </select>
      </label>
      <Loading error={error} busy={busy && !found} what="the replies" />
      {found && !found.same && (
        <Empty>
          The runs were asked other held-out prompts, or judged by another constitution: nothing stands side by side.
        </Empty>
      )}
      {found?.same && found.samples.length === 0 && <Empty>No prompt fits.</Empty>}
      {found?.samples.map(({ ordinal, prompt, replies }) => (
        <article key={ordinal} className="sample">
          <header>
            <Conversation messages={prompt} />
          </header>
          <div className="replies">
            {replies.map((reply) => (
              <section key={reply.row} className={`reply s${data.runs.indexOf(reply.checkpoint) % 6}`}>
                <h3>{reply.checkpoint}</h3>
                <Passage text={reply.response} marks={marksOf(reply.verdicts)} />
                <Verdicts verdicts={reply.verdicts} />
                <RowLink id={reply.row} />
              </section>
            ))}
          </div>
        </article>
      ))}
      {found?.next !== undefined && <Further to={{ after: String(found.next) }} />}
    </section>
  );
}

function Stages({ data }: { data: Compare }) {
  const [all, setAll] = useState(false);
  const shown = data.stages.filter(
    ({ states }) => all || states.some((state) => state === "differs" || state === "absent"),
  );
  return (
    <section aria-labelledby="stages">
      <h2 id="stages">Stages</h2>
      <label>
        <input type="checkbox" checked={all} onChange={(event) => setAll(event.target.checked)} /> those that are shared
        too ({format.count(data.stages.length)} in all)
      </label>
      <RunTable of="Stages" columns={["Stage"]} runs={data.runs}>
        {shown.map(({ stage, states }) => (
          <tr key={stage}>
            <th scope="row">{stage}</th>
            {states.map((state, i) => (
              <td key={data.runs[i]} className={state === "base" || state === "shared" ? "muted" : ""}>
                {state === "base" ? "as it is" : state}
              </td>
            ))}
          </tr>
        ))}
      </RunTable>
    </section>
  );
}
