import type { LabelHealth, Labelling, PrincipleLabels, RunPage } from "../../src/api.ts";
import { useGet } from "../data.ts";
import * as format from "../format.ts";
import { Bar, Empty, Estimate, Loading, Scroll } from "../parts.tsx";
import { Link } from "../route.tsx";
import { HeatCell } from "./compare.tsx";

/** What the labels are worth: the audit, and beside it what people say. */
export function LabelsScreen({ run }: { run: string }) {
  const { data } = useGet<RunPage>(`/api/runs/${run}`);
  if (!data) return null;
  const { verdict } = data;
  return (
    <>
      <h2>Label health</h2>
      <p className="muted">
        A labeller is asked about pairs whose better reply is known, in the way in which it labels.{" "}
        <Link to={`/review?run=${run}`}>What people say of this run's pairs</Link>
      </p>
      {!verdict?.labelHealth.length && (
        <Empty>
          Nothing was audited in this run: its labels may be right or wrong. A recipe names known pairs under
          feedback.audit.
        </Empty>
      )}
      {verdict?.labelsBy && (
        <p>
          Learnt from:{" "}
          {Object.entries(verdict.labelsBy).map(([kind, count], i) => (
            <span key={kind}>
              {i > 0 && ", "}
              <Link to={`/runs/${run}/pairs?label=${kind}`}>
                {format.count(count)} by{" "}
                {{ check: "the checks", ai: "a model", human: "people", ranking: "public rankings" }[kind] ?? kind}
              </Link>
            </span>
          ))}
        </p>
      )}
      {verdict?.labelling && <Price labelling={verdict.labelling} human={verdict.humanLabelUsd} />}
      {verdict?.labelHealth.map((health) => (
        <Health key={health.labeller} run={run} health={health} />
      ))}
      <ByPrinciple run={run} />
    </>
  );
}

/** What a label cost that a model was asked for, beside what people ask. */
function Price({ labelling, human }: { labelling: Labelling; human: [number, number] | undefined }) {
  const { labels, roles, total, fixedUsd, breakEven } = labelling;
  const lines = roles.length > 1 ? [...roles, total] : roles;
  const from = (count: number | null) => (count === null ? "never" : `from ${format.count(count)} labels on`);
  return (
    <section aria-labelledby="price">
      <h3 id="price">What a label cost, of {format.count(labels)} that were asked for</h3>
      <Scroll label="Price of a label, as a table">
        <table>
          <thead>
            <tr>
              <th scope="col">Who was asked</th>
              <th scope="col">Tokens a label</th>
              <th scope="col">Time a label</th>
              <th scope="col">Dollars a label</th>
            </tr>
          </thead>
          <tbody>
            {lines.map(({ role, tokens, seconds, usd }) => (
              <tr key={role}>
                <th scope="row">{role}</th>
                <td>{format.count(tokens)}</td>
                <td>{format.seconds(seconds)}</td>
                <td>{usd === undefined ? "no price is known" : format.dollars(usd)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
      <p className="muted small">
        {human && `People ask ${format.dollars(human[0])} to ${format.dollars(human[1])} a label. `}
        {fixedUsd !== undefined && fixedUsd > 0 && `${format.dollars(fixedUsd)} were spent before the first. `}
        {breakEven &&
          `Cheaper than people: ${from(breakEven.atHigh)} where they ask most, ${from(breakEven.atLow)} where they ask least.`}
      </p>
    </section>
  );
}

/** What the labels of each principle are worth, of all pairs of this run. */
function ByPrinciple({ run }: { run: string }) {
  const { data, error, busy } = useGet<PrincipleLabels>(`/api/runs/${run}/labels/principles`, { live: false });
  if (!data) return <Loading error={error} busy={busy} what="the labels" />;
  if (data.rows.length === 0) return null;
  return (
    <section aria-labelledby="by-principle">
      <h3 id="by-principle">By principle, over all labelled pairs</h3>
      <p className="muted">The stronger the colour, the larger the share.</p>
      <Scroll label="Labels by principle, as a table">
        <table className="heat">
          <thead>
            <tr>
              <th scope="col">Principle</th>
              <th scope="col">Pairs</th>
              <th scope="col">Sure, on average</th>
              <th scope="col">Follows the position</th>
              <th scope="col">As the checks say</th>
              <th scope="col">As people say</th>
            </tr>
          </thead>
          <tbody>
            {data.rows.map(({ principle, pairs, sureness, followsPosition, checks, people }) => (
              <tr key={principle}>
                <th scope="row">
                  <Link to={`/runs/${run}/pairs?principle=${encodeURIComponent(principle)}`}>{principle}</Link>
                </th>
                <td>{format.count(pairs)}</td>
                <td>{format.value(sureness)}</td>
                <HeatCell figure={followsPosition} />
                <HeatCell figure={checks} />
                <HeatCell figure={people} />
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
    </section>
  );
}

function Health({ run, health }: { run: string; health: LabelHealth }) {
  const { labeller, accuracy, gate, figures, calibration, reliability, principles } = health;
  return (
    <section className="panel">
      <h3>{labeller}</h3>
      <p>
        Right on known pairs: <Estimate figure={accuracy} />{" "}
        <span className={`chip ${gate.passed ? "good" : gate.overridden ? "warn" : "bad"}`}>
          {gate.passed ? "let through" : gate.overridden ? "refused, and overridden" : "refused"}
        </span>
      </p>
      <p className="muted">{gate.why}</p>
      <table className="stack">
        <thead>
          <tr>
            <th scope="col">Measure</th>
            <th scope="col">Value</th>
            <th scope="col">Should be near</th>
          </tr>
        </thead>
        <tbody>
          {figures.map(({ label, figure, ideal }) => (
            <tr key={label}>
              <th scope="row">
                <Link to={`/runs/${run}/pairs?sort=${/position|order/i.test(label) ? "position" : "uncertain"}`}>
                  {label}
                </Link>
              </th>
              <td>
                <Bar figure={figure} /> <Estimate figure={figure} />
              </td>
              <td data-label="Should be near">{ideal}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {principles.length > 0 && (
        <details>
          <summary>By principle</summary>
          <table>
            <tbody>
              {principles.map(({ principle, agreement }) => (
                <tr key={principle}>
                  <th scope="row">
                    <Link to={`/runs/${run}/pairs?principle=${encodeURIComponent(principle)}`}>{principle}</Link>
                  </th>
                  <td>
                    <Bar figure={agreement} /> <Estimate figure={agreement} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </details>
      )}
      {calibration && (
        <p>
          Calibration error {calibration.ece.toFixed(3)}; Brier score{" "}
          <Estimate figure={calibration.brier} unit="number" />{" "}
          <span className="muted">0.25 for who always says ½</span>
        </p>
      )}
      {reliability.length > 0 && (
        <details>
          <summary>What was said and what came true</summary>
          <table>
            <thead>
              <tr>
                <th scope="col">Said</th>
                <th scope="col">Came true</th>
                <th scope="col">Pairs</th>
              </tr>
            </thead>
            <tbody>
              {reliability.map(({ predicted, observed, n }) => (
                <tr key={predicted}>
                  <td>{predicted.toFixed(2)}</td>
                  <td>{observed.toFixed(2)}</td>
                  <td>{n}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </details>
      )}
    </section>
  );
}
