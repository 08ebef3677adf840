import { useRef, useState } from "react";
import type { ChatLine, ChatVotes, Checkpoints, CheckVerdict, Message, Runs } from "../../src/api.ts";
import { post, readOnly, token, useGet, useWho } from "../data.ts";
import { Command, Empty, Estimate, Loading } from "../parts.tsx";
import { useParameter } from "../route.tsx";
import { marksOf, Passage, Verdicts } from "../text.tsx";

interface Said extends Message {
  verdicts?: CheckVerdict[];
  note?: string;
}

/** Checkpoints of a run side by side: each goes on from its own replies, all with the same seed. */
export function ChatScreen() {
  const [run, setRun] = useParameter("run");
  const [chosen, setChosen] = useParameter("checkpoints");
  const { data: runs } = useGet<Runs>("/api/runs", { live: false });
  const { data, error } = useGet<Checkpoints>(run === "" ? undefined : `/api/runs/${run}/checkpoints`, { live: false });
  const all = data?.checkpoints ?? [];
  const ids =
    chosen === "" ? all.map(({ id }) => id) : chosen.split(",").filter((id) => all.some((one) => one.id === id));
  const [talks, setTalks] = useState<Readonly<Record<string, Said[]>>>({});
  const [text, setText] = useState("");
  const [system, setSystem] = useState("");
  const [seed, setSeed] = useState(0);
  const [temperature, setTemperature] = useState(0.7);
  const [busy, setBusy] = useState<string>();
  const [fault, setFault] = useState<string>();
  const aborting = useRef<AbortController>(undefined);
  const who = useWho();
  const [blind, setBlind] = useParameter("blind");
  const [turned, setTurned] = useState(() => Math.random() < 0.5);
  const [voted, setVoted] = useState<string>();
  // Two, in an order that nobody knows, without their names until one was found better.
  const hidden = blind !== "" && ids.length === 2 && voted === undefined;
  const shownIds = blind !== "" && ids.length === 2 && turned ? ids.toReversed() : ids;
  const nameOf = (id: string, i: number) =>
    hidden ? `Reply ${i + 1}` : (all.find((one) => one.id === id)?.label ?? id);
  const { data: votes } = useGet<ChatVotes>(run === "" ? undefined : `/api/runs/${run}/votes`);
  const anew = () => {
    setTalks({});
    setVoted(undefined);
    setTurned(Math.random() < 0.5);
  };
  const answered = busy === undefined && shownIds.every((id) => talks[id]?.at(-1)?.role === "assistant");
  const vote = async (choice: string) => {
    const [first, second] = shownIds.map((id) => talks[id]!);
    const plain = ({ role, content }: Said) => ({ role, content });
    try {
      await post("/api/chat/votes", {
        ...{ run, who, choice },
        // What both had heard: of several turns the first's, whose replies came before.
        messages: first!.slice(0, -1).map(plain),
        replies: [first!, second!].map((talk, i) => ({ checkpoint: shownIds[i], text: talk.at(-1)!.content })),
      });
      setVoted(choice);
    } catch (reason) {
      setFault((reason as Error).message);
    }
  };

  const send = async (content: string) => {
    if (content.trim() === "" || ids.length === 0) return;
    const before = Object.fromEntries(ids.map((id) => [id, [...(talks[id] ?? []), { role: "user", content }]]));
    setTalks((now) => ({ ...now, ...before }));
    setText("");
    setFault(undefined);
    setBusy("asking");
    aborting.current = new AbortController();
    const put = (id: string, change: (last: Said) => Said) =>
      setTalks((now) => {
        const talk = now[id] ?? [];
        const last = talk.at(-1)?.role === "assistant" ? talk.at(-1)! : { role: "assistant", content: "" };
        return { ...now, [id]: [...talk.filter((one) => one !== last), change(last)] };
      });
    try {
      const body = {
        run,
        seed,
        temperature,
        turns: ids.map((id) => ({
          checkpoint: id,
          messages: [
            ...(system.trim() === "" ? [] : [{ role: "system", content: system }]),
            ...before[id]!.map(({ role, content: said }) => ({ role, content: said })),
          ],
        })),
      };
      const response = await fetch("/api/chat", {
        method: "POST",
        headers: { "content-type": "application/json", "x-tenet-token": token },
        body: JSON.stringify(body),
        signal: aborting.current.signal,
      });
      if (!response.ok) throw new Error(((await response.json()) as { error: { message: string } }).error.message);
      for await (const line of linesOf(response.body!)) {
        if (line.type === "loading") setBusy(`loading ${line.checkpoints.toSorted().join(", ")} into memory`);
        else if (line.type === "text") {
          setBusy(hidden ? "writing" : `${line.checkpoint} is writing`);
          put(line.checkpoint, (last) => ({ ...last, content: last.content + line.text }));
        } else if (line.type === "done") {
          const { finishReason, seconds, verdicts } = line;
          put(line.checkpoint, (last) => ({
            ...last,
            content: line.text,
            note: `${seconds.toFixed(1)} s${finishReason === "length" ? ", cut off at the limit of tokens" : ""}`,
            ...(verdicts && { verdicts }),
          }));
        } else setFault(line.message);
      }
    } catch (reason) {
      if (!aborting.current.signal.aborted) setFault((reason as Error).message);
    } finally {
      setBusy(undefined);
    }
  };

  return (
    <section>
      <h1>Chat</h1>
      <form className="tools" onSubmit={(event) => event.preventDefault()}>
        <label>
          Checkpoints of{" "}
          <select
            value={run}
            onChange={(event) => {
              anew();
              setRun(event.target.value);
            }}
          >
            <option value="">choose a run</option>
            {runs?.runs.map(({ id }) => (
              <option key={id}>{id}</option>
            ))}
          </select>
        </label>
        {all.map(({ id, label }) => (
          <label key={id}>
            <input
              type="checkbox"
              checked={ids.includes(id)}
              onChange={(event) =>
                setChosen(
                  all
                    .map((one) => one.id)
                    .filter((one) => (one === id ? event.target.checked : ids.includes(one)))
                    .join(","),
                )
              }
            />{" "}
            {label}
          </label>
        ))}
        {ids.length === 2 && (
          <label>
            <input
              type="checkbox"
              checked={blind !== ""}
              onChange={(event) => {
                anew();
                setBlind(event.target.checked ? "1" : "");
              }}
            />{" "}
            blind
          </label>
        )}
        <label>
          Seed <input type="number" min={0} value={seed} onChange={(event) => setSeed(Number(event.target.value))} />
        </label>
        <label>
          Temperature{" "}
          <input
            type="number"
            min={0}
            max={5}
            step={0.1}
            value={temperature}
            onChange={(event) => setTemperature(Number(event.target.value))}
          />
        </label>
      </form>
      <details>
        <summary>System message</summary>
        <label>
          What all are told first
          <textarea rows={2} value={system} onChange={(event) => setSystem(event.target.value)} />
        </label>
      </details>
      <Loading error={error} busy={false} what="" />
      {run === "" && <Empty>Choose a run: its checkpoints answer side by side, with the same seed.</Empty>}
      <div className="replies" aria-live="polite">
        {shownIds.map((id, i) => (
          <section key={id} className={`reply s${hidden ? 0 : i % 6}`}>
            <h2>{nameOf(id, i)}</h2>
            {(talks[id] ?? []).map((one, place) => (
              <Turn key={`${place} ${one.role}`} said={hidden ? { role: one.role, content: one.content } : one} />
            ))}
          </section>
        ))}
      </div>
      {hidden && answered && (talks[shownIds[0]!]?.length ?? 0) === 2 && !readOnly && (
        <div className="choices">
          {who === "" && <p className="muted">First type your name above: it is written beside what you say.</p>}
          {[
            ["first", "the first is better"],
            ["tie", "no difference"],
            ["second", "the second is better"],
            ["both bad", "both bad"],
          ].map(([choice, label]) => (
            <button key={choice} type="button" disabled={who === ""} onClick={() => void vote(choice!)}>
              {label}
            </button>
          ))}
        </div>
      )}
      {voted !== undefined && (
        <p role="status">
          You said: {voted}. It is a label of this pair now.{" "}
          <button type="button" onClick={anew}>
            The next question
          </button>
        </p>
      )}
      {votes && votes.votes > 0 && !hidden && (
        <p className="small">
          {votes.votes} blind votes:{" "}
          {votes.wins.map(({ checkpoint, won, ties }, i) => (
            <span key={checkpoint}>
              {i > 0 && "; "}
              {checkpoint} won <Estimate figure={won} />
              {ties > 0 && `, ${ties} ties`}
            </span>
          ))}{" "}
          · <a href={`/api/runs/${run}/votes.jsonl`}>as preferences</a>
        </p>
      )}
      {fault && (
        <div className="notice bad" role="alert">
          {fault}
        </div>
      )}
      {run !== "" && data && (
        <form
          className="say"
          onSubmit={(event) => {
            event.preventDefault();
            void send(text);
          }}
        >
          <label>
            Say
            <textarea
              rows={3}
              value={text}
              onChange={(event) => setText(event.target.value)}
              onKeyDown={(event) => {
                if (event.key !== "Enter" || event.shiftKey) return;
                event.preventDefault();
                void send(text);
              }}
            />
          </label>
          <p className="tools">
            <button type="submit" disabled={busy !== undefined || text.trim() === ""}>
              Send <kbd>Enter</kbd>
            </button>
            {busy !== undefined && (
              <>
                <span role="status">{busy} …</span>
                <button type="button" onClick={() => aborting.current?.abort()}>
                  Stop
                </button>
              </>
            )}
            <button type="button" className="quiet" onClick={anew}>
              Begin anew
            </button>
          </p>
          <p className="muted small">
            What is said here is not kept{blind === "" ? "" : ", but for what you vote on"}. In a terminal:{" "}
            <Command>{`tenet chat --run ${run} --compare ${ids.join(",")} --seed ${seed}`}</Command>
          </p>
        </form>
      )}
    </section>
  );
}

function Turn({ said: { role, content, verdicts, note } }: { said: Said }) {
  return (
    <div className={role === "user" ? "turn user" : "turn"}>
      <p className="role">{role === "user" ? "You" : "Reply"}</p>
      <Passage text={content} marks={marksOf(verdicts)} />
      {verdicts && <Verdicts verdicts={verdicts} />}
      {note && <p className="muted small">{note}</p>}
    </div>
  );
}

async function* linesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<ChatLine> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += decoder.decode(value, { stream: true });
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
      const line = text.slice(0, end);
      text = text.slice(end + 1);
      if (line !== "") yield JSON.parse(line) as ChatLine;
    }
  }
}
