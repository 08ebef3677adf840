import { useCallback, useEffect, useRef, useState } from "react";
import type { Agreement, NextItem, Queues, Runs } from "../../src/api.ts";
import { post, readOnly, useGet, useWho } from "../data.ts";
import * as format from "../format.ts";
import { useKeys } from "../keys.tsx";
import { Command, Empty, Estimate, Loading, Scroll } from "../parts.tsx";
import { Link, navigate, RowLink, useParameter } from "../route.tsx";
import { Conversation, Passage } from "../text.tsx";

export function ReviewScreen() {
  const { data, error, busy } = useGet<Queues>("/api/queues");
  return (
    <section>
      <h1>Review</h1>
      <p className="muted">
        People judge pairs of replies without knowing whose they are, and before they see what the machine said. What
        they say stands over the machine's labels in the next run.
      </p>
      <Loading error={error} busy={busy && !data} what="the queues" />
      {data?.queues.length === 0 && <Empty>No queue yet. Make one of a run's pairs below.</Empty>}
      <ul className="list">
        {data?.queues.map(({ id, name, items, answers, people, overlap, created }) => (
          <li key={id}>
            <Link to={`/review/${id}`}>{name}</Link>{" "}
            <small className="muted">
              {items} pairs, {answers} of {items * overlap} answers{people.length > 0 && ` by ${people.join(", ")}`} ·
              made {format.when(created)}
            </small>{" "}
            <Link to={`/review/${id}/results`}>results</Link>
          </li>
        ))}
      </ul>
      {!readOnly && <NewQueue />}
    </section>
  );
}

function NewQueue() {
  const who = useWho();
  const [run, setRun] = useParameter("run");
  const { data: runs } = useGet<Runs>("/api/runs");
  const [name, setName] = useState("Pairs to judge");
  const [how, setHow] = useState("random");
  const [size, setSize] = useState(30);
  const [overlap, setOverlap] = useState(1);
  const [gold, setGold] = useState(0);
  const [guidelines, setGuidelines] = useState("");
  const [error, setError] = useState<Error>();
  const labelled = runs?.runs.filter(({ labelled: pairs = 0 }) => pairs > 0) ?? [];
  const chosen = run || labelled[0]?.id || "";
  return (
    <form
      className="sheet"
      onSubmit={(event) => {
        event.preventDefault();
        post<{ id: string }>("/api/queues", {
          name,
          run: chosen,
          how,
          size,
          overlap,
          gold: gold / 100,
          guidelines,
          who,
        }).then(({ id }) => navigate(`/review/${id}`), setError);
      }}
    >
      <h2>New queue</h2>
      <label>
        Name <input required value={name} onChange={(event) => setName(event.target.value)} />
      </label>
      <label>
        Pairs of{" "}
        <select value={chosen} onChange={(event) => setRun(event.target.value)}>
          {labelled.map(({ id, labelled: pairs }) => (
            <option key={id} value={id}>
              {id} ({pairs} pairs)
            </option>
          ))}
        </select>
      </label>
      <label>
        Which{" "}
        <select value={how} onChange={(event) => setHow(event.target.value)}>
          <option value="random">drawn at random: says what all are like</option>
          <option value="uncertain">where the machine is least sure</option>
          <option value="position">where its two orders disagree most</option>
          <option value="checks">where it and the checks disagree most</option>
        </select>
      </label>
      <label>
        How many{" "}
        <input
          type="number"
          min={1}
          max={2000}
          value={size}
          onChange={(event) => setSize(Number(event.target.value))}
        />
      </label>
      <label>
        People for each{" "}
        <input
          type="number"
          min={1}
          max={5}
          value={overlap}
          onChange={(event) => setOverlap(Number(event.target.value))}
        />
      </label>
      <label>
        Known ones among them, %{" "}
        <input type="number" min={0} max={50} value={gold} onChange={(event) => setGold(Number(event.target.value))} />
        <small className="muted">
          decided by the checks or by people; they are no labels, and say how well people judge
        </small>
      </label>
      <label>
        Guidelines <textarea rows={3} value={guidelines} onChange={(event) => setGuidelines(event.target.value)} />
      </label>
      {runs && labelled.length === 0 && <p className="muted">No run has labelled pairs yet.</p>}
      {who === "" && <p className="muted">First type your name above: it is written beside what you say.</p>}
      <Loading error={error} busy={false} what="" />
      <button type="submit" disabled={who === "" || chosen === ""}>
        Make the queue
      </button>
    </form>
  );
}

type Choice = "left much" | "left" | "tie" | "right" | "right much" | "both bad" | "skip";
const choices: readonly [Choice, key: string, label: string][] = [
  ["left much", "1", "left much better"],
  ["left", "2", "left better"],
  ["tie", "3", "no difference"],
  ["right", "4", "right better"],
  ["right much", "5", "right much better"],
  ["both bad", "b", "both bad"],
  ["skip", "s", "skip"],
];

/** One pair after another, by keys alone. */
export function ReviewDesk({ id }: { id: string }) {
  const who = useWho();
  const { data: queues } = useGet<Queues>("/api/queues", { live: false });
  const queue = queues?.queues.find((one) => one.id === id);
  const [next, setNext] = useState<NextItem>();
  const [error, setError] = useState<Error>();
  const [reasons, setReasons] = useState<readonly string[]>([]);
  const [note, setNote] = useState("");
  const [naming, setNaming] = useState(false);
  const shownAt = useRef(0);
  const busy = useRef(false);
  const noteField = useRef<HTMLTextAreaElement>(null);
  const draw = useCallback(async () => {
    try {
      const item = await post<NextItem>(`/api/queues/${id}/next`, { who }, { quiet: true });
      setNext(item);
      setReasons([]);
      setNote("");
      setNaming(false);
      setError(undefined);
      shownAt.current = performance.now();
    } catch (reason) {
      setError(reason as Error);
    }
  }, [id, who]);
  useEffect(() => {
    if (who !== "" && !readOnly) void draw();
  }, [who, draw]);
  const say = async (choice: Choice) => {
    if (!next?.item || busy.current) return;
    busy.current = true;
    try {
      await post(
        `/api/queues/${id}/answers`,
        {
          row: next.item.row,
          who,
          choice,
          reasons,
          milliseconds: Math.round(performance.now() - shownAt.current),
          ...(note.trim() !== "" && { note }),
        },
        { quiet: true },
      );
      await draw();
    } catch (reason) {
      setError(reason as Error);
    } finally {
      busy.current = false;
    }
  };
  const undo = async () => {
    await post(`/api/queues/${id}/undo`, { who }, { quiet: true });
    await draw();
  };
  const toggle = (reason: string) =>
    setReasons((now) => (now.includes(reason) ? now.filter((one) => one !== reason) : [...now, reason]));
  const named = next?.reasons ?? [];
  useKeys({
    ...Object.fromEntries(choices.map(([choice, key, label]) => [key, [label, () => void say(choice)] as const])),
    ...(naming &&
      Object.fromEntries(
        named.map((reason, i) => [
          String(i + 1),
          [
            `because of ${reason}`,
            () => {
              toggle(reason);
              setNaming(false);
            },
          ] as const,
        ]),
      )),
    ArrowLeft: ["left better", () => void say("left")],
    ArrowRight: ["right better", () => void say("right")],
    u: ["take the last answer back", () => void undo()],
    r: ["name a reason by its number", () => setNaming((now) => !now)],
    n: ["write a note", () => noteField.current?.focus()],
  });
  if (readOnly) return <Empty>The store is read only here: nothing can be judged.</Empty>;
  if (who === "") return <Empty>First type your name above: it is written beside what you say.</Empty>;
  if (!next) return <Loading error={error} busy={true} what="the next pair" />;
  const { item, done, total, question } = next;
  return (
    <section className="desk">
      <h1>{queue?.name ?? "Review"}</h1>
      <p>
        <progress value={done} max={Math.max(1, total)} aria-label="judged" />{" "}
        <small>
          {done} of {total} judged
        </small>{" "}
        <Link to={`/review/${id}/results`}>results</Link>
      </p>
      {queue?.guidelines && (
        <details open={done === 0}>
          <summary>Guidelines</summary>
          <p className="pre">{queue.guidelines}</p>
        </details>
      )}
      <Loading error={error} busy={false} what="" />
      {!item && (
        <Empty>
          <p>Nothing is left for you here: {done} judged. Thank you.</p>
          <p>
            <button type="button" onClick={() => void undo()}>
              Take the last answer back
            </button>
          </p>
        </Empty>
      )}
      {item && (
        <>
          <div className="asked">
            <Conversation messages={item.prompt} />
          </div>
          <p className="question">{question}</p>
          <div className="replies two-sides">
            {(["left", "right"] as const).map((side) => (
              <section key={side} className="reply" aria-label={`${side} reply`}>
                <Passage key={item.row} text={item[side]} />
              </section>
            ))}
          </div>
          <div className="choices">
            {choices.map(([choice, key, label]) => (
              <button key={choice} type="button" onClick={() => void say(choice)}>
                {label} <kbd>{key}</kbd>
              </button>
            ))}
            <button type="button" className="quiet" onClick={() => void undo()}>
              undo <kbd>u</kbd>
            </button>
          </div>
          <fieldset className={naming ? "naming" : ""}>
            <legend>
              Reasons <kbd>r</kbd> {naming && <span role="status">press a number</span>}
            </legend>
            {named.map((reason, i) => (
              <label key={reason}>
                <input type="checkbox" checked={reasons.includes(reason)} onChange={() => toggle(reason)} /> {i + 1}{" "}
                {reason}
              </label>
            ))}
          </fieldset>
          <label>
            Note <kbd>n</kbd>
            <textarea
              ref={noteField}
              rows={2}
              value={note}
              onChange={(event) => setNote(event.target.value)}
              onKeyDown={(event) => event.key === "Escape" && event.currentTarget.blur()}
            />
          </label>
        </>
      )}
    </section>
  );
}

export function QueueResults({ id }: { id: string }) {
  const { data, error, busy } = useGet<Agreement>(`/api/queues/${id}/results`);
  if (!data) return <Loading error={error} busy={busy} what="the answers" />;
  const { people, raw, alpha, kappa, machine, single, disagreements, labels, command } = data;
  return (
    <section>
      <h1>What people said</h1>
      <p>
        <Link to={`/review/${id}`}>judge on</Link> ·{" "}
        <a href={`/api/queues/${id}/answers.jsonl`}>every answer as JSONL</a>
      </p>
      {people.length === 0 && <Empty>Nobody has answered yet.</Empty>}
      {people.length > 0 && (
        <>
          <p>
            {labels} labels stand over the machine's in the next run: <Command>{command}</Command>
          </p>
          <Scroll label="People">
            <table>
              <thead>
                <tr>
                  <th scope="col">Who</th>
                  <th scope="col">Answers</th>
                  <th scope="col">What they said</th>
                  <th scope="col">Chose the left</th>
                  <th scope="col">Right on known ones</th>
                  <th scope="col">Agrees with others</th>
                  <th scope="col">Seconds each</th>
                </tr>
              </thead>
              <tbody>
                {people.map(({ who, answers, outcomes, leftShare, agreement, gold, seconds }) => (
                  <tr key={who}>
                    <th scope="row">{who}</th>
                    <td>{answers}</td>
                    <td>
                      {Object.entries(outcomes)
                        .map(([what, count]) => `${what} ${count}`)
                        .join(", ")}
                    </td>
                    <td>
                      {leftShare ? <Estimate figure={leftShare} /> : <span className="muted">no side chosen</span>}
                    </td>
                    <td>{agreement ? <Estimate figure={agreement} /> : <span className="muted">alone so far</span>}</td>
                    <td>{gold ? <Estimate figure={gold} /> : <span className="muted">none asked</span>}</td>
                    <td>{seconds === undefined ? "" : format.seconds(seconds)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </Scroll>
          <h2>Agreement</h2>
          <dl className="facts">
            <div>
              <dt>Krippendorff's α</dt>
              <dd>
                {alpha ? (
                  <Estimate figure={alpha} unit="number" />
                ) : (
                  "unknown: no pair was judged by two people, or all said the same"
                )}
              </dd>
            </div>
            <div>
              <dt>Said the same</dt>
              <dd>{raw ? <Estimate figure={raw} /> : "no pair was judged by two people"}</dd>
            </div>
            <div>
              <dt>As the machine says</dt>
              <dd>{machine ? <Estimate figure={machine} /> : "not comparable"}</dd>
            </div>
            {kappa.map(({ a, b, kappa: value, n }) => (
              <div key={`${a} ${b}`}>
                <dt>
                  Cohen's κ of {a} and {b}
                </dt>
                <dd>
                  {value === undefined ? "unknown" : format.value(value, "number")}{" "}
                  <small className="muted">n {n}</small>
                </dd>
              </div>
            ))}
          </dl>
          <p className="muted small">
            {single} pairs were judged by one person only: they are in no measure of agreement.
          </p>
          {disagreements.length > 0 && (
            <>
              <h2>Where people disagree</h2>
              {disagreements.map(({ row, prompt, a, b, answers, settled }) => (
                <article key={row} className="sample">
                  <Conversation messages={prompt} />
                  <div className="replies">
                    <section className="reply">
                      <h3>a</h3>
                      <Passage text={a} />
                    </section>
                    <section className="reply">
                      <h3>b</h3>
                      <Passage text={b} />
                    </section>
                  </div>
                  <p className="small">
                    {answers.map(({ who, says }) => `${who}: ${says}`).join("; ")} · <RowLink id={row} />
                  </p>
                  {settled && (
                    <p>
                      <b>{settled.who}</b> decided: {settled.says}. {settled.why}
                    </p>
                  )}
                  {!readOnly && <Settle queue={id} row={row} again={settled !== undefined} />}
                </article>
              ))}
            </>
          )}
        </>
      )}
    </section>
  );
}

/** One person's decision over what several said. It is the pair's only label from then on. */
function Settle({ queue, row, again }: { queue: string; row: string; again: boolean }) {
  const who = useWho();
  const [why, setWhy] = useState("");
  const say = (says: string) => void post(`/api/queues/${queue}/settle`, { row, says, why, who });
  return (
    <details className="said">
      <summary>{again ? "decide otherwise" : "decide"}</summary>
      {who === "" ? (
        <p className="muted">First type your name above: it is written beside what you say.</p>
      ) : (
        <p className="buttons">
          <label>
            Why <input value={why} onChange={(event) => setWhy(event.target.value)} />
          </label>
          {[
            ["a", "a is better"],
            ["tie", "no difference"],
            ["b", "b is better"],
          ].map(([says, label]) => (
            <button key={says} type="button" disabled={why.trim() === ""} onClick={() => say(says!)}>
              {label}
            </button>
          ))}
        </p>
      )}
    </details>
  );
}
