import { useEffect, useState } from "react";
import { type Reply, type Sample, type SampleCounts, type Samples, sampleShows } from "../../src/api.ts";
import { post, readOnly, useGet, useWho } from "../data.ts";
import * as format from "../format.ts";
import { useKeys } from "../keys.tsx";
import { Empty, Filters, Loading } from "../parts.tsx";
import { Further, navigate, RowLink, useParameter, useRoute, withSearch } from "../route.tsx";
import { Conversation, marksOf, Passage, Verdicts, WordDiff } from "../text.tsx";

const words: Record<(typeof sampleShows)[number], string> = {
  all: "All",
  breaks: "Something breaks",
  fixed: "Mended",
  regressed: "Got worse",
  different: "Verdicts differ",
  cut: "Cut off",
  refused: "Refused",
  flagged: "People said something",
};

export function SamplesScreen({ run }: { run: string }) {
  const { search } = useRoute();
  const [show] = useParameter("show", "all");
  const [q, setQ] = useParameter("q");
  const [principle, setPrinciple] = useParameter("principle");
  const [category, setCategory] = useParameter("category");
  const query = new URLSearchParams(
    [...search].filter(
      ([name, value]) => ["show", "q", "principle", "category", "after"].includes(name) && value !== "",
    ),
  );
  const { data, error, busy } = useGet<Samples>(`/api/runs/${run}/samples?${query}&limit=30`, { live: false });
  const { data: counts } = useGet<SampleCounts>(`/api/runs/${run}/samples/counts`, { live: false });
  const [at, setAt] = useState(0);
  const samples = data?.samples ?? [];
  useEffect(() => setAt(0), [search.toString()]);
  const move = (by: number) => {
    const next = Math.min(samples.length - 1, Math.max(0, at + by));
    setAt(next);
    document.getElementById(`sample-${next}`)?.scrollIntoView({ block: "nearest" });
  };
  const current = samples[at];
  const last = current?.replies.at(-1);
  useKeys({
    j: ["next prompt", () => move(1)],
    k: ["previous prompt", () => move(-1)],
    o: ["where the last reply comes from", () => last && navigate(withSearch({ row: last.row }))],
    "/": ["search", () => document.querySelector<HTMLInputElement>("input[type=search]")?.focus()],
    n: ["further on", () => data?.next !== undefined && navigate(withSearch({ after: String(data.next) }))],
  });
  return (
    <>
      <h2>Replies to held-out prompts</h2>
      <Filters
        name="show"
        chosen={show}
        standard="all"
        label="Which replies"
        options={sampleShows.map((value) => ({ value, label: words[value], count: counts?.counts[value] }))}
      />
      <form className="tools" onSubmit={(event) => event.preventDefault()}>
        <Search q={q} setQ={setQ} />
        <label>
          Breaks{" "}
          <select value={principle} onChange={(event) => setPrinciple(event.target.value)}>
            <option value="">any principle or none</option>
            {Object.entries(counts?.principles ?? {}).map(([name, count]) => (
              <option key={name} value={name}>
                {name} ({count})
              </option>
            ))}
          </select>
        </label>
        {counts && Object.keys(counts.categories).length > 0 && (
          <label>
            About{" "}
            <select value={category} onChange={(event) => setCategory(event.target.value)}>
              <option value="">anything</option>
              {Object.entries(counts.categories).map(([name, count]) => (
                <option key={name} value={name}>
                  {name} ({count})
                </option>
              ))}
            </select>
          </label>
        )}
      </form>
      <p className="small">
        These as{" "}
        <a
          href={`/api/runs/${run}/samples.jsonl?${new URLSearchParams([...query].filter(([name]) => name !== "after"))}`}
        >
          JSONL
        </a>{" "}
        · corrections as <a href={`/api/runs/${run}/corrections.jsonl?as=examples`}>examples</a> or{" "}
        <a href={`/api/runs/${run}/corrections.jsonl?as=preferences`}>preferences</a>, which recipes read
      </p>
      <Loading error={error} busy={busy && !data} what="the replies" />
      {data && data.checkpoints.length === 0 && (
        <Empty>This run has answered no held-out prompts yet; a recipe names them under prompts.heldOut.</Empty>
      )}
      {data && data.checkpoints.length > 0 && samples.length === 0 && (
        <Empty>
          {data.next === undefined
            ? "No reply fits."
            : `None of the ${format.count(data.scanned)} prompts looked through fits.`}
        </Empty>
      )}
      {samples.map((sample, i) => (
        <SampleCard
          key={sample.ordinal}
          sample={sample}
          labels={data!.checkpoints}
          id={`sample-${i}`}
          current={i === at}
        />
      ))}
      {data?.next !== undefined && <Further to={{ after: String(data.next) }} />}
    </>
  );
}

/** A text to search for, asked when it is no longer typed. */
export function Search({ q, setQ }: { q: string; setQ: (q: string) => void }) {
  const [text, setText] = useState(q);
  useEffect(() => {
    if (text === q) return;
    const timer = setTimeout(() => setQ(text), 300);
    return () => clearTimeout(timer);
  }, [text, q, setQ]);
  return (
    <label>
      Search{" "}
      <input
        type="search"
        value={text}
        placeholder="words of a prompt or a reply"
        onChange={(event) => setText(event.target.value)}
      />
    </label>
  );
}

function SampleCard({
  sample,
  labels,
  id,
  current,
}: {
  sample: Sample;
  labels: readonly { id: string; label: string }[];
  id: string;
  current: boolean;
}) {
  const { prompt, category, benign, replies } = sample;
  return (
    <article className={`sample ${current ? "current" : ""}`} id={id}>
      <header>
        <Conversation messages={prompt} />
        <p className="tags">
          {category && <span className="tag">{category}</span>}
          {benign && <span className="tag">harmless look-alike</span>}
        </p>
      </header>
      <div className="replies">
        {replies.map((reply, i) => (
          <ReplyCard
            key={reply.row}
            reply={reply}
            label={labels.find((one) => one.id === reply.checkpoint)?.label ?? reply.checkpoint}
            series={labels.findIndex((one) => one.id === reply.checkpoint)}
            before={i > 0 ? replies[0] : undefined}
          />
        ))}
      </div>
    </article>
  );
}

function ReplyCard({
  reply,
  label,
  series,
  before,
}: {
  reply: Reply;
  label: string;
  series: number;
  before: Reply | undefined;
}) {
  const [diff, setDiff] = useState(false);
  return (
    <section className={`reply s${series % 6}`}>
      <h3>{label}</h3>
      {diff && before ? (
        <WordDiff before={before.response} after={reply.response} />
      ) : (
        <Passage text={reply.response} marks={marksOf(reply.verdicts)} />
      )}
      <Verdicts verdicts={reply.verdicts} />
      <p className="muted small">
        {{ answers: "", partial: "helps in part · ", refuses: "refuses · ", empty: "says nothing · " }[reply.stance]}
        {reply.finishReason === "length" && "cut off at the limit of tokens · "}
        <RowLink id={reply.row} />
        {before && (
          <>
            {" · "}
            <button type="button" className="quiet" aria-pressed={diff} onClick={() => setDiff(!diff)}>
              what changed
            </button>
          </>
        )}
      </p>
      <Said reply={reply} />
    </section>
  );
}

/** What people say of a reply: a verdict that is wrong, what it should have said, a flag. */
function Said({ reply }: { reply: Reply }) {
  const who = useWho();
  const [open, setOpen] = useState(false);
  const [text, setText] = useState(reply.response);
  const say = (kind: string, value: unknown, about = "") =>
    post("/api/annotations", { row: reply.row, kind, about, value: value as null, who });
  const broken = [
    ...new Set((reply.verdicts ?? []).filter(({ violated }) => violated).map(({ principle }) => principle)),
  ];
  return (
    <div className="said">
      {reply.said.map(({ kind, about, value, who: by }) => (
        <p key={`${kind} ${about} ${by}`} className="small">
          <b>{by}</b>: {saidInWords(kind, about, value)}
        </p>
      ))}
      {!readOnly && (
        <details open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
          <summary>say something</summary>
          {who === "" ? (
            <p className="muted">First type your name above: it is written beside what you say.</p>
          ) : (
            <>
              <p className="buttons">
                <button type="button" onClick={() => say("flag", true)}>
                  Flag
                </button>
                {broken.map((principle) => (
                  <span key={principle} className="buttons">
                    <button type="button" onClick={() => say("verdict", "breaks", principle)}>
                      It does break {principle}
                    </button>
                    <button type="button" onClick={() => say("verdict", "keeps", principle)}>
                      It does not break {principle}
                    </button>
                  </span>
                ))}
              </p>
              <label>
                What it should have said
                <textarea rows={4} value={text} onChange={(event) => setText(event.target.value)} />
              </label>
              {text !== reply.response && <WordDiff before={reply.response} after={text} />}
              <button
                type="button"
                disabled={text === reply.response || text.trim() === ""}
                onClick={() => say("correction", text)}
              >
                Save the correction
              </button>
            </>
          )}
        </details>
      )}
    </div>
  );
}

export function saidInWords(kind: string, about: string, value: unknown): string {
  if (kind === "flag") return "flagged";
  if (kind === "verdict") return value === "keeps" ? `does not break ${about}` : `breaks ${about}`;
  if (kind === "judgement") return `the revision is ${String(value)}`;
  if (kind === "settled") return `decided: ${(value as { says?: string }).says}`;
  if (kind === "blind vote") return `found ${(value as { choice?: string }).choice} better, blind`;
  if (kind === "correction") return `should have said: ${String(value)}`;
  return String(value);
}
