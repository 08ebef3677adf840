import { useState } from "react";
import type { Monitors, RolloutReply, Rollouts } from "../../src/api.ts";
import { post, readOnly, useGet, useWho } from "../data.ts";
import * as format from "../format.ts";
import { Empty, Loading, Scroll } from "../parts.tsx";
import { Plot } from "../plot.tsx";
import { Further, Link, useParameter, useRoute } from "../route.tsx";
import { Conversation, harmless, Passage } from "../text.tsx";
import { Search } from "./samples.tsx";

const ruleWords: Readonly<Record<string, string>> = {
  R1: "the preference score rises while the constitutional reward falls",
  R2: "length drives the score",
  R3: "KL beyond its target, or accelerating",
  R4: "entropy below half its start",
  R5: "replies that are the same",
  R6: "the proxy and an independent judge part",
  R7: "refusals rise",
  R8: "replies are cut off",
  R9: "a constraint's multiplier stays at its end",
  R10: "rewards are equal: nothing is learnt",
  R11: "adherence falls against where the training began",
  R12: "the score goes with agreement and praise, and these rise",
  R13: "answers follow the person's view more than before",
};

/** What to look at while a policy learns. */
export function MonitorsScreen({ run }: { run: string }) {
  const { data, error, busy } = useGet<Monitors>(`/api/runs/${run}/monitors`);
  return (
    <>
      <h2>Monitors</h2>
      <p className="muted">
        Reward hacking: a policy that learns to please what scores it, and not to do better. An alarm says “look here”:
        such signals find it afterwards, and warn of it unreliably.
      </p>
      <Loading error={error} busy={busy && !data} what="the monitors" />
      {data?.stages.length === 0 && <Empty>No policy has been trained in this run yet.</Empty>}
      {data?.stages.map(({ stage, alarms, panels }) => (
        <section key={stage} aria-label={stage}>
          <h3>{stage}</h3>
          {alarms.length === 0 && <p>No rule has sounded.</p>}
          <ul className="alarms">
            {alarms.map((alarm) => (
              <Alarm key={`${alarm.rule} ${alarm.iteration}`} run={run} stage={stage} alarm={alarm} />
            ))}
          </ul>
          <div className="plots">
            {panels.map(({ title, series }) => (
              <Plot key={title} title={title} x="iteration" series={series} />
            ))}
          </div>
          <RepliesByIteration run={run} stage={stage} />
        </section>
      ))}
      {data && data.stages.length > 0 && (
        <details>
          <summary>The rules and their limits</summary>
          <ul>
            {Object.entries(ruleWords).map(([rule, words]) => (
              <li key={rule}>
                {rule}: {words}
              </li>
            ))}
          </ul>
          <p className="small muted">
            {Object.entries(data.limits)
              .map(([name, value]) => `${name} ${value ?? "none"}`)
              .join(", ")}
          </p>
        </details>
      )}
    </>
  );
}

function Alarm({
  run,
  stage,
  alarm: { rule, iteration, message, dismissed },
}: {
  run: string;
  stage: string;
  alarm: Monitors["stages"][number]["alarms"][number];
}) {
  const who = useWho();
  const [why, setWhy] = useState("");
  return (
    <li className={`notice ${dismissed ? "" : "warn"}`}>
      <p>
        <b>
          {rule}, iteration {iteration}
        </b>
        : {ruleWords[rule]}. {harmless(message)}.{" "}
        <Link to={`/runs/${run}/monitors?step=${iteration}`}>the replies of that iteration</Link> ·{" "}
        <Link to={`/runs/${run}/samples?show=breaks`}>replies to held-out prompts</Link>
      </p>
      {dismissed && (
        <p className="small">
          <b>{dismissed.who}</b> dismissed it {format.when(dismissed.time)}: {dismissed.why}
        </p>
      )}
      {!dismissed && !readOnly && (
        <details>
          <summary>dismiss it</summary>
          {who === "" ? (
            <p className="muted">First type your name above: it is written beside what you say.</p>
          ) : (
            <p className="buttons">
              <label>
                Why <input value={why} onChange={(event) => setWhy(event.target.value)} />
              </label>
              <button
                type="button"
                disabled={why.trim() === ""}
                onClick={() => void post(`/api/runs/${run}/alarms`, { stage, rule, iteration, why, who })}
              >
                Dismiss
              </button>
            </p>
          )}
        </details>
      )}
    </li>
  );
}

/** A prompt per row, an iteration per column: read along a row to see how replies change. */
function RepliesByIteration({ run, stage }: { run: string; stage: string }) {
  const { search } = useRoute();
  const [q, setQ] = useParameter("q");
  const [step, setStep] = useParameter("step");
  const from = search.get("from") ?? "0";
  const query = new URLSearchParams({ from, ...(q !== "" && { q }) });
  const { data, error, busy } = useGet<Rollouts>(
    `/api/runs/${run}/stages/${encodeURIComponent(stage)}/rollouts?${query}`,
  );
  if (!data) return <Loading error={error} busy={busy} what="the replies" />;
  const { steps, prompts, total } = data;
  const shown = step === "" ? steps : steps.filter((one) => String(one) === step);
  return (
    <section aria-label={`replies of ${stage}`}>
      <h4>Replies by iteration</h4>
      {steps.length === 0 && (
        <p className="muted">None were kept: the run is of a Tenet before this, or has not come so far.</p>
      )}
      {steps.length > 0 && (
        <>
          <form className="tools" onSubmit={(event) => event.preventDefault()}>
            <Search q={q} setQ={setQ} />
            <label>
              Iteration{" "}
              <select value={step} onChange={(event) => setStep(event.target.value)}>
                <option value="">all</option>
                {steps.map((one) => (
                  <option key={one}>{one}</option>
                ))}
              </select>
            </label>
          </form>
          <Scroll label="Replies by iteration, as a table">
            <table className="rollouts">
              <thead>
                <tr>
                  <th scope="col">Prompt</th>
                  {shown.map((one) => (
                    <th key={one} scope="col">
                      iteration {one}
                    </th>
                  ))}
                </tr>
              </thead>
              <tbody>
                {prompts
                  .filter(({ replies }) => replies.some((reply) => shown.includes(reply.step)))
                  .map(({ prompt, replies }) => (
                    <tr key={JSON.stringify(prompt)}>
                      <th scope="row">
                        <Conversation messages={prompt} />
                      </th>
                      {shown.map((one) => (
                        <td key={one}>
                          {replies
                            .filter((reply) => reply.step === one)
                            .map((reply, i) => (
                              <RolloutCell key={i} reply={reply} />
                            ))}
                        </td>
                      ))}
                    </tr>
                  ))}
              </tbody>
            </table>
          </Scroll>
          {Number(from) + prompts.length < total && <Further to={{ from: String(Number(from) + prompts.length) }} />}
        </>
      )}
    </section>
  );
}

function RolloutCell({ reply: { response, finishReason, score, parts, kl, tokens } }: { reply: RolloutReply }) {
  return (
    <div className="rollout">
      <Passage text={response} />
      <p className="small muted">
        score {score.toFixed(2)}
        {Object.entries(parts).length > 1 &&
          ` (${Object.entries(parts)
            .map(([name, value]) => `${name} ${value.toFixed(2)}`)
            .join(", ")})`}{" "}
        · KL {kl.toFixed(2)} · {tokens} tokens{finishReason === "length" && " · cut off"}
      </p>
    </div>
  );
}
