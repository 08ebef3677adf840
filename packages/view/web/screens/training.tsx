import type { Curves, RunPage } from "../../src/api.ts";
import { useGet } from "../data.ts";
import { Empty, Loading } from "../parts.tsx";
import { Plot, type Series } from "../plot.tsx";
import { useParameter } from "../route.tsx";

/** Stages whose figures come step by step. */
const trained = new Set(["sft", "preference-model", "policy", "judge"]);

export function TrainingScreen({ run }: { run: string }) {
  const { data } = useGet<RunPage>(`/api/runs/${run}`);
  const [x, setX] = useParameter("x", "step");
  const [smooth, setSmooth] = useParameter("smooth", "0");
  const [log, setLog] = useParameter("log");
  const stages = data?.stages.filter(({ kind }) => kind !== undefined && trained.has(kind)) ?? [];
  return (
    <>
      <h2>Training</h2>
      <form className="tools" onSubmit={(event) => event.preventDefault()}>
        <label>
          Along{" "}
          <select value={x} onChange={(event) => setX(event.target.value)}>
            <option value="step">steps</option>
            <option value="time">seconds</option>
          </select>
        </label>
        <label>
          Smooth{" "}
          <input
            type="range"
            min="0"
            max="0.95"
            step="0.05"
            value={smooth}
            onChange={(event) => setSmooth(event.target.value)}
          />
        </label>
        <label>
          <input type="checkbox" checked={log !== ""} onChange={(event) => setLog(event.target.checked ? "1" : "")} />{" "}
          logarithmic
        </label>
      </form>
      {data && stages.length === 0 && <Empty>Nothing has been trained in this run yet.</Empty>}
      {stages.map((stage) => (
        <StageCurves
          key={stage.name}
          run={run}
          stage={stage.name}
          title={stage.title ?? stage.name}
          x={x}
          smooth={Number(smooth)}
          log={log !== ""}
        />
      ))}
    </>
  );
}

function StageCurves({
  run,
  stage,
  title,
  x,
  smooth,
  log,
}: {
  run: string;
  stage: string;
  title: string;
  x: string;
  smooth: number;
  log: boolean;
}) {
  const { data, error, busy } = useGet<Curves>(`/api/runs/${run}/stages/${encodeURIComponent(stage)}/curves`);
  const seconds = new Map(data?.seconds);
  const timed = x === "time" && seconds.size > 0;
  const place = (points: Series["points"]): Series["points"] =>
    timed ? points.flatMap(([step, y]) => (seconds.has(step) ? [[seconds.get(step)!, y] as const] : [])) : points;
  return (
    <section aria-label={title}>
      <h3>{title}</h3>
      {x === "time" && data && !timed && (
        <p className="muted">The store does not say when these steps were; they stand by their number.</p>
      )}
      <Loading error={error} busy={busy && !data} what="figures" />
      {data?.series.length === 0 && <p className="muted">No figures yet.</p>}
      <div className="plots">
        {grouped(data?.series ?? []).map(([name, series]) => (
          <Plot
            key={name}
            title={name}
            x={timed ? "seconds" : "step"}
            smooth={smooth}
            log={log}
            series={series.map((one) => ({ name: one.name, points: place(one.points) }))}
          />
        ))}
      </div>
    </section>
  );
}

/** Parts of one sum in one picture: what stands before the last "/" is the picture's name. */
function grouped(series: Curves["series"]): [string, Curves["series"]][] {
  const groups = new Map<string, Curves["series"]>();
  for (const one of series) {
    const name = one.name.startsWith("reward/") ? "reward and its parts" : one.name;
    groups.set(name, [...(groups.get(name) ?? []), one]);
  }
  return [...groups];
}
