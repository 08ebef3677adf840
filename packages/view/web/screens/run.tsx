import type { ReactNode } from "react";
import type { Metric, RunPage, StageLine, Superseded, Verdict } from "../../src/api.ts";
import { post, readOnly, useGet } from "../data.ts";
import * as format from "../format.ts";
import { useKeys } from "../keys.tsx";
import {
  Bar,
  Change,
  Command,
  Empty,
  Estimate,
  Loading,
  ProgressBar,
  Scroll,
  StatusChip,
  ToneChip,
} from "../parts.tsx";
import { Link, navigate, RowLink } from "../route.tsx";
import { Conversation, Objection, Passage, quoted } from "../text.tsx";
import { leftInWords, RunNotes } from "./runs.tsx";

const tabs = [
  ["", "Overview", "1"],
  ["samples", "Replies", "2"],
  ["chains", "Chains", "3"],
  ["pairs", "Pairs", "4"],
  ["labels", "Labels", "5"],
  ["training", "Training", "6"],
  ["monitors", "Monitors", "7"],
  ["exports", "Exports", "8"],
  ["log", "Log", "9"],
] as const;

/** What all screens of a run share: its name, its status, and the ways to its other screens. */
export function RunFrame({ id, tab, children }: { id: string; tab: string; children: ReactNode }) {
  const { data, error, busy } = useGet<RunPage>(`/api/runs/${id}`);
  useKeys(
    Object.fromEntries(
      tabs.map(([name, label, key]) => [key, [label, () => navigate(`/runs/${id}${name && `/${name}`}`)] as const]),
    ),
  );
  if (!data)
    return (
      <section>
        {error && <h1>{id}</h1>}
        <Loading error={error} busy={busy} what="the run" />
        {error && <Link to="/runs">The runs of this store</Link>}
      </section>
    );
  const { run } = data;
  return (
    <section>
      <header className="run-head">
        <h1>{run.note.name ?? run.id}</h1>
        <p>
          <StatusChip status={run.status} />{" "}
          <span className="muted">
            {run.note.name ? `${run.id} · ` : ""}begun {format.when(run.created)} · {format.seconds(run.seconds)} ·{" "}
            {format.count(run.tokens)} tokens{run.dollars !== undefined && ` · ${format.dollars(run.dollars)}`}
          </span>
        </p>
        <RunNotes run={run} />
      </header>
      <nav className="tabs" aria-label="Screens of this run">
        {tabs.map(([name, label]) => (
          <Link key={name} to={`/runs/${id}${name && `/${name}`}`} current={name === tab}>
            {label}
          </Link>
        ))}
      </nav>
      {children}
    </section>
  );
}

export function RunOverview({ id }: { id: string }) {
  const { data } = useGet<RunPage>(`/api/runs/${id}`);
  if (!data) return null;
  const { run, verdict, file, stages, queues } = data;
  const command = `tenet run ${file ?? "<recipe>"}`;
  return (
    <>
      {run.status === "running" && <Running page={data} />}
      {run.status !== "running" && run.status !== "done" && (
        <div className={`notice ${run.status === "failed" ? "bad" : "warn"}`} role="note">
          <p>
            <b>
              {
                {
                  failed: "The run failed",
                  refused: "A gate refused to go on",
                  waiting: "The run waits for people",
                  interrupted: "The run was interrupted",
                }[run.status]
              }
            </b>
            {run.error && <>: {run.error}</>}
          </p>
          <p>
            {run.stages.done} of {run.stages.planned ?? run.stages.begun} stages are kept; the same command continues:{" "}
            <Command>{command}</Command>
          </p>
          {run.status === "waiting" && <Judge queues={queues} />}
          {stages
            .filter(({ status }) => status === "failed")
            .map((stage) => (
              <p key={stage.name}>
                It stopped in{" "}
                <Link to={`/runs/${id}/stages/${encodeURIComponent(stage.name)}`}>{stage.title ?? stage.name}</Link>
                {stage.error && <>: {stage.error}</>}
              </p>
            ))}
        </div>
      )}
      {verdict && <VerdictPart run={id} verdict={verdict} />}
      {verdict && verdict.labelHealth.length > 0 && (
        <p>
          Labels:{" "}
          {verdict.labelHealth.map(({ labeller, accuracy }) => (
            <span key={labeller}>
              {labeller} right on known pairs <Estimate figure={accuracy} />{" "}
            </span>
          ))}
          <Link to={`/runs/${id}/labels`}>label health</Link>
        </p>
      )}
      <section aria-labelledby="next">
        <h2 id="next">Next</h2>
        <ul className="next">
          {verdict && (
            <li>
              <Link to={`/chat?run=${run.id}`}>Talk to its checkpoints side by side</Link>, or:{" "}
              <Command>{`tenet chat --run ${run.id}`}</Command>
            </li>
          )}
          {verdict && (
            <li>
              <Link to={`/runs/${run.id}/exports`}>Take it elsewhere</Link>:{" "}
              <Command>{`tenet export ${run.id} exported`}</Command>
            </li>
          )}
          {verdict && (
            <li>
              <a href={`/reports/${run.id}`}>The report as one page to send</a>
            </li>
          )}
          {(run.labelled ?? 0) > 0 && (
            <li>
              <Link to={`/review?run=${run.id}`}>Let people judge pairs of this run</Link>
            </li>
          )}
          {queues.length > 0 && (
            <li>
              <Judge queues={queues} />
            </li>
          )}
          <li>
            Run it again, or continue: <Command>{command}</Command>
          </li>
        </ul>
      </section>
      <Stages run={id} stages={stages} />
      {data.superseded.length > 0 && <Former run={id} results={data.superseded} />}
    </>
  );
}

/** The ways to what people are asked of a run. */
function Judge({ queues }: { queues: RunPage["queues"] }) {
  return queues.map(({ id, name, items, overlap, answers }) => (
    <p key={id}>
      <Link to={`/review/${id}`}>Judge “{name}”</Link>{" "}
      <span className="muted">
        {format.count(answers)} of {format.count(items * overlap)} answers are there
      </span>
    </p>
  ));
}

/** Results that later ones replaced, each to be read as it was. */
function Former({ run, results }: { run: string; results: readonly Superseded[] }) {
  return (
    <details>
      <summary>{results.length} results that later ones replaced</summary>
      <ul>
        {results.map(({ stage, title, replaced, rows, identity, violations = [] }) => {
          const search = `?result=${encodeURIComponent(identity)}`;
          const words = `${stage} as it was`;
          return (
            <li key={`${identity} ${replaced}`}>
              {stage === "scorecard" ? (
                <a href={`/reports/${run}${search}`}>{words}</a>
              ) : (
                <Link to={`/runs/${run}/stages/${encodeURIComponent(stage)}${search}`}>{words}</Link>
              )}{" "}
              <span className="muted">
                {title && title !== stage && `${title} · `}
                {rows > 0 && `${format.count(rows)} rows · `}replaced {format.when(replaced)}
              </span>
              {violations.map((one) => (
                <span key={one.checkpoint} className="small">
                  {" "}
                  {one.label} <Estimate figure={one} />
                </span>
              ))}
            </li>
          );
        })}
      </ul>
    </details>
  );
}

function Running({ page: { run, stages, writer, events } }: { page: RunPage }) {
  const at = stages.findLast(({ status }) => status === "running");
  const planned = run.stages.planned ?? run.stages.begun;
  return (
    <div className="notice now">
      <p>
        <b>
          Stage {Math.min(run.stages.done + 1, planned)} of {planned}
        </b>
        {at && <>: {at.title ?? at.name}</>}
      </p>
      {at?.progress && <ProgressBar progress={at.progress} label={`progress of ${at.name}`} />}
      <p>
        {run.timeLeft ? (
          <>
            The whole run: {leftInWords(run.timeLeft)}{" "}
            <small className="muted">
              as long as its stages took in <Link to={`/runs/${run.timeLeft.like}`}>runs like it</Link>, while the
              machine stays as busy as it is
            </small>
          </>
        ) : (
          <span className="muted">How long the whole run takes is not known: nothing like it was run here before.</span>
        )}
      </p>
      {events.length > 0 && (
        <p className="muted">
          {events.at(-1)!.message ?? events.at(-1)!.stage} <small>{format.when(events.at(-1)!.time)}</small>
        </p>
      )}
      {writer && !readOnly && (
        <p>
          <button type="button" onClick={() => void post(`/api/runs/${run.id}/stop`, {})}>
            Stop
          </button>{" "}
          <small className="muted">as Ctrl-C does; the same command continues</small>
        </p>
      )}
    </div>
  );
}

const headline = ["violations", "over-refusal", "perplexity"];

/** Which replies are behind a measure, where they can be listed. */
const behind: Readonly<Record<string, string>> = {
  violations: "show=breaks&",
  "over-refusal": "show=refused&benign=true&",
  refusal: "show=refused&benign=false&",
  unfinished: "show=cut&",
};

/** What a checkpoint is, for who does not know the field's names: those of rounds begin alike. */
function stepOf(id: string): string | undefined {
  if (/^base/.test(id)) return "the model as it came";
  if (/^sl/.test(id)) return "after it learnt from its own revised replies";
  if (/^rl/.test(id)) return "after reinforcement by what is preferred";
  return undefined;
}

function VerdictPart({ run, verdict }: { run: string; verdict: Verdict }) {
  const [lede, ...rest] = verdict.sentences;
  const { subject, checkpoints } = verdict;
  const shown = headline.flatMap((name) => verdict.metrics.find((metric) => metric.name === name) ?? []);
  const others = verdict.metrics.filter((metric) => !shown.includes(metric) && metric.values.length > 0);
  return (
    <>
      <section className="verdict" aria-labelledby="verdict">
        <h2 id="verdict" className="visually-hidden">
          Verdict
        </h2>
        <p>
          <ToneChip tone={verdict.tone} />{" "}
          <b>{subject.recommended ? `Use ${subject.label}` : "Nothing is recommended"}</b>
          {!subject.recommended && <span className="muted">: what was measured does not say which is better</span>}
        </p>
        <p className="lede">{lede}</p>
        {rest.length > 0 && (
          <ul>
            {rest.map((sentence) => (
              <li key={sentence}>{sentence}</li>
            ))}
          </ul>
        )}
        <p className="muted small">
          {checkpoints.map(({ id, label }) => (stepOf(id) ? `${label}: ${stepOf(id)}` : label)).join(" · ")}. Figures
          stand with the range in which they lie with 95% certainty and the number of replies (n) they rest on.
        </p>
        <div className="figures">
          {shown.map((metric) => (
            <MetricPanel key={metric.name} run={run} metric={metric} verdict={verdict} open />
          ))}
        </div>
      </section>
      <section aria-labelledby="breaks">
        <h2 id="breaks">What still breaks{checkpoints.length > 1 && `, in replies of ${subject.label}`}</h2>
        {verdict.breaks.length === 0 && (
          <p>
            No check objects to any reply of {subject.label}. What checks cannot tell is not in this: whether what was
            asked is answered, and whether it is true.
          </p>
        )}
        <ol className="breaks">
          {verdict.breaks.map(({ principle, text, rate, severity, example }) => (
            <li key={principle} className="panel">
              <h3>
                <Link to={`/runs/${run}/samples?principle=${encodeURIComponent(principle)}&by=${subject.id}`}>
                  {principle}
                </Link>
              </h3>
              <p>
                {verdict.mustHold.some((one) => one.principle === principle && one.value > 0) && (
                  <span className="chip bad">must hold, and does not</span>
                )}{" "}
                <Estimate figure={rate} />
                {severity !== undefined && (
                  <small className="muted"> · severity {format.value(severity, "number")}</small>
                )}
              </p>
              {text && <p className="muted">{text}</p>}
              {example && (
                <details>
                  <summary>one reply</summary>
                  <Conversation messages={example.prompt} />
                  <div className="reply">
                    <Passage text={example.response} marks={quoted(example.why ?? "")} />
                    <div>
                      <Objection
                        verdict={{
                          principle,
                          ...(example.check !== undefined && { check: example.check }),
                          ...(example.why !== undefined && { why: example.why }),
                        }}
                      />
                    </div>
                    <RowLink id={example.row} />
                  </div>
                </details>
              )}
            </li>
          ))}
        </ol>
        {checkpoints.length > 1 && (
          <p>
            <Link to={`/runs/${run}/samples?show=regressed`}>What got worse</Link> ·{" "}
            <Link to={`/runs/${run}/samples?show=fixed`}>what was mended</Link> ·{" "}
            <Link to={`/runs/${run}/samples?show=breaks`}>every reply that breaks something</Link>
          </p>
        )}
      </section>
      {others.length > 0 && (
        <details>
          <summary>All that was measured</summary>
          <div className="figures">
            {others.map((metric) => (
              <MetricPanel key={metric.name} run={run} metric={metric} verdict={verdict} />
            ))}
          </div>
        </details>
      )}
    </>
  );
}

function MetricPanel({
  run,
  metric,
  verdict: { checkpoints, subject },
  open = false,
}: {
  run: string;
  metric: Metric;
  verdict: Verdict;
  /** Whether what it is stands there at once. */
  open?: boolean;
}) {
  const first = checkpoints[0]!.id;
  const change = metric.differences.find(({ checkpoint, against }) => checkpoint === subject.id && against === first);
  const top =
    metric.unit === "share"
      ? Math.max(0.05, ...metric.values.map(({ interval: [, high], value }) => Math.max(high ?? 1, value)))
      : 0;
  return (
    <div className="panel">
      <h3>{metric.label}</h3>
      <table>
        <tbody>
          {metric.values.map((value) => {
            const place = checkpoints.findIndex(({ id }) => id === value.checkpoint);
            return (
              <tr key={value.checkpoint}>
                <th scope="row">
                  <Link to={`/runs/${run}/samples?${behind[metric.name] ?? ""}by=${value.checkpoint}`}>
                    {checkpoints[place]?.label ?? value.checkpoint}
                  </Link>
                </th>
                <td>
                  {metric.unit === "share" && <Bar figure={value} top={top} series={place} />}
                  <Estimate figure={value} unit={metric.unit} />
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
      {change && (
        <p>
          {subject.label} against {checkpoints[0]!.label}: <Change figure={change} metric={metric} />
        </p>
      )}
      {open ? (
        <p className="muted small">{metric.about}</p>
      ) : (
        <details>
          <summary>what it is</summary>
          <p className="muted">{metric.about}</p>
        </details>
      )}
    </div>
  );
}

function Stages({ run, stages }: { run: string; stages: readonly StageLine[] }) {
  if (stages.length === 0) return <Empty>No stage has begun.</Empty>;
  return (
    <section aria-labelledby="stages">
      <h2 id="stages">Stages</h2>
      <Scroll label="Stages, as a table">
        <table className="stack">
          <thead>
            <tr>
              <th scope="col">Stage</th>
              <th scope="col">Status</th>
              <th scope="col">Rows</th>
              <th scope="col">Set aside</th>
              <th scope="col">Tokens</th>
              <th scope="col">Time</th>
            </tr>
          </thead>
          <tbody>
            {stages.map((stage) => (
              <tr key={stage.name} className={stage.identity === undefined ? "muted" : ""}>
                <th scope="row">
                  {stage.identity === undefined ? (
                    (stage.title ?? stage.name)
                  ) : (
                    <Link to={`/runs/${run}/stages/${encodeURIComponent(stage.name)}`}>
                      {stage.title ?? stage.name}
                    </Link>
                  )}
                  {stage.title && <small>{stage.name}</small>}
                </th>
                <td data-label="Status">
                  <StatusChip status={stage.status} />
                  {stage.shared && <small>taken from another run</small>}
                  {stage.progress && <ProgressBar progress={stage.progress} label={`progress of ${stage.name}`} />}
                </td>
                <td data-label="Rows">{stage.rows > 0 && format.count(stage.rows)}</td>
                <td data-label="Set aside">{stage.aside > 0 && format.count(stage.aside)}</td>
                <td data-label="Tokens">{stage.tokens > 0 && format.count(stage.tokens)}</td>
                <td data-label="Time">
                  {stage.identity !== undefined && !stage.shared && format.seconds(stage.seconds)}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
    </section>
  );
}
