import { useEffect, useRef, useState } from "react";
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
  refused: "Refused or silent",
  flagged: "People said something",
};

export function SamplesScreen({ run }: { run: string }) {
  const { search } = useRoute();
  const [show] = useParameter("show", "all");
  const [q, setQ] = useParameter("q");
  const [principle, setPrinciple] = useParameter("principle");
  const [category, setCategory] = useParameter("category");
  const [by, setBy] = useParameter("by");
  const [benign, setBenign] = useParameter("benign");
  const query = new URLSearchParams(
    [...search].filter(
      ([name, value]) => ["show", "q", "principle", "category", "by", "benign", "after"].includes(name) && value !== "",
    ),
  );
  const { data, error, busy } = useGet<Samples>(`/api/runs/${run}/samples?${query}&limit=30`, { live: false });
  const { data: counts } = useGet<SampleCounts>(
    `/api/runs/${run}/samples/counts${by === "" ? "" : `?by=${encodeURIComponent(by)}`}`,
    { live: false },
  );
  const [at, setAt] = useState(0);
  const [side, setSide] = useState<number>();
  const samples = data?.samples ?? [];
  // Another filter shows others; another row in the drawer does not.
  const asked = query.toString();
  useEffect(() => {
    setAt(0);
    setSide(undefined);
  }, [asked]);
  const move = (by: number) => {
    const next = Math.min(samples.length - 1, Math.max(0, at + by));
    setAt(next);
    document.getElementById(`sample-${next}`)?.scrollIntoView({ block: "nearest" });
  };
  const replies = samples[at]?.replies ?? [];
  // Of whom is spoken, else the last.
  const spoken = replies.findIndex(({ checkpoint }) => checkpoint === by);
  const place = Math.min(replies.length - 1, side ?? (spoken >= 0 ? spoken : replies.length - 1));
  const reply = replies[place];
  const aside = (by: number) => setSide(Math.min(replies.length - 1, Math.max(0, place + by)));
  const press = (what: string) =>
    reply &&
    document.querySelector<HTMLElement>(`[data-reply="${CSS.escape(reply.row)}"] [data-key="${what}"]`)?.click();
  useKeys({
    j: ["next prompt", () => move(1)],
    k: ["previous prompt", () => move(-1)],
    ArrowLeft: ["the reply to the left", () => aside(-1)],
    ArrowRight: ["the reply to the right", () => aside(1)],
    o: ["where this reply comes from", () => reply && navigate(withSearch({ row: reply.row }))],
    f: ["flag this reply", () => press("f")],
    v: ["the first verdict on this reply is wrong", () => press("v")],
    e: ["write what this reply should have said", () => press("e")],
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
        {data && data.checkpoints.length > 1 && (
          <label>
            Replies of{" "}
            <select value={by} onChange={(event) => setBy(event.target.value)}>
              <option value="">all checkpoints</option>
              {data.checkpoints.map(({ id, label }) => (
                <option key={id} value={id}>
                  {label}
                </option>
              ))}
            </select>
          </label>
        )}
        <label>
          Breaks{" "}
          <select value={principle} onChange={(event) => setPrinciple(event.target.value)}>
            <option value="">any principle or none</option>
            {Object.entries(counts?.principles ?? {}).map(([name, count]) => (
              <option key={name} value={name}>
                {name} ({count})
              </option>
            ))}
            {principle !== "" && counts && !(principle in counts.principles) && (
              <option value={principle}>{principle} (0)</option>
            )}
          </select>
        </label>
        <label>
          <input
            type="checkbox"
            checked={benign === "true"}
            onChange={(event) => setBenign(event.target.checked ? "true" : "")}
          />{" "}
          only harmless questions that look dangerous
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
          current={i === at ? place : undefined}
          spoken={by}
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
  spoken,
}: {
  sample: Sample;
  labels: readonly { id: string; label: string }[];
  id: string;
  /** Place of the reply that keys are about; absent where they are about another prompt's. */
  current: number | undefined;
  /** The checkpoint that the filter speaks of. */
  spoken: string;
}) {
  const { prompt, category, benign, replies } = sample;
  return (
    <article className={`sample ${current === undefined ? "" : "current"}`} id={id}>
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
            look={`${i === current ? "current" : ""} ${spoken !== "" && reply.checkpoint !== spoken ? "aside" : ""}`}
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
  look,
}: {
  reply: Reply;
  label: string;
  series: number;
  before: Reply | undefined;
  look: string;
}) {
  const [diff, setDiff] = useState(false);
  return (
    <section className={`reply s${series % 6} ${look}`} data-reply={reply.row}>
      <h3>{label}</h3>
      {diff && before ? (
        <WordDiff before={before.response} after={reply.response} />
      ) : (
        <Passage text={reply.response} marks={marksOf(reply.verdicts)} />
      )}
      <Verdicts
        verdicts={reply.verdicts}
        {...(!readOnly && { after: (principle) => <OnVerdict reply={reply} principle={principle} /> })}
      />
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

/** Says something of a reply as the person who sits here; who has no name yet is asked for one first. */
function useSay({ row }: Reply): (kind: string, value: unknown, about?: string) => void {
  const who = useWho();
  return (kind, value, about = "") => {
    if (who === "") document.querySelector<HTMLInputElement>(".who input")?.focus();
    else void post("/api/annotations", { row, kind, about, value, who });
  };
}

/** One's own latest word of a kind. */
const wordOf = ({ said }: Reply, who: string, kind: string, about = "") =>
  said.find((one) => one.who === who && one.kind === kind && one.about === about)?.value;

/** Whether a verdict is right, in one press: again takes it back. */
function OnVerdict({ reply, principle }: { reply: Reply; principle: string }) {
  const who = useWho();
  const say = useSay(reply);
  const word = wordOf(reply, who, "verdict", principle);
  return (
    <span className="buttons small">
      {(
        [
          ["breaks", "right", ""],
          ["keeps", "wrong", "v"],
        ] as const
      ).map(([value, label, key]) => (
        <button
          key={value}
          type="button"
          className="quiet"
          data-key={key}
          aria-pressed={word === value}
          aria-label={`that it breaks ${principle} is ${label}`}
          onClick={() => say("verdict", word === value ? null : value, principle)}
        >
          {label}
        </button>
      ))}
    </span>
  );
}

/** What people say of a reply: a flag, what it breaks though no check objects, what it should have said. */
function Said({ reply }: { reply: Reply }) {
  const who = useWho();
  const say = useSay(reply);
  const [open, setOpen] = useState(false);
  const [text, setText] = useState(reply.response);
  const field = useRef<HTMLTextAreaElement>(null);
  const flagged = wordOf(reply, who, "flag") === true;
  const kept = [...new Set((reply.verdicts ?? []).map(({ principle }) => principle))].filter(
    (principle) => !reply.verdicts!.some((one) => one.principle === principle && one.violated),
  );
  return (
    <div className="said">
      {reply.said.map(({ kind, about, value, who: by }) => (
        <p key={`${kind} ${about} ${by}`} className="small">
          <b>{by}</b>: {saidInWords(kind, about, value)}
        </p>
      ))}
      {!readOnly && (
        <>
          <p className="buttons small">
            <button
              type="button"
              className="quiet"
              data-key="f"
              aria-pressed={flagged}
              onClick={() => say("flag", flagged ? null : true)}
            >
              {flagged ? "Flagged" : "Flag"}
            </button>
            <button
              type="button"
              className="quiet"
              data-key="e"
              aria-expanded={open}
              onClick={() => {
                setOpen(!open);
                if (!open) setTimeout(() => field.current?.focus());
              }}
            >
              Correct it
            </button>
            {kept.length > 0 && (
              <label>
                It breaks{" "}
                <select value="" onChange={(event) => say("verdict", "breaks", event.target.value)}>
                  <option value="">what no check found</option>
                  {kept.map((principle) => (
                    <option key={principle}>{principle}</option>
                  ))}
                </select>
              </label>
            )}
            {who === "" && (
              <span className="muted">First type your name above: it is written beside what you say.</span>
            )}
          </p>
          {open && (
            <>
              <label>
                What it should have said
                <textarea
                  ref={field}
                  rows={4}
                  dir="auto"
                  value={text}
                  onChange={(event) => setText(event.target.value)}
                  onKeyDown={(event) => event.key === "Escape" && setOpen(false)}
                />
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
        </>
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
