import type { AuditReport } from "@tenet/align";
import { table } from "./format.ts";

/** What an audit found, for people. */
export function auditText({ health, gate }: AuditReport): string {
  const share = ({ value, interval: [low, high], n }: typeof health.accuracy) =>
    `${value.toFixed(3)}${low === null || high === null ? "" : ` [${low.toFixed(3)}, ${high.toFixed(3)}]`} of ${n}`;
  const verdict = gate.passed
    ? "passed"
    : `${gate.open ? "refused, overridden" : "refused"}: ${gate.reasons.join("; ")}`;
  const lines: [string, string][] = [
    ["labeller", health.labeller],
    ["gate", verdict],
    ["accuracy", share(health.accuracy)],
    ...(health.calibration
      ? ([
          ["calibration error", `${health.calibration.ece.toFixed(3)}; ideal: 0`],
          ["brier score", `${share(health.calibration.brier)}; ideal: 0; always saying ½: 0.25`],
        ] as [string, string][])
      : []),
    ...health.figures.map(({ label, estimate, ideal }): [string, string] => [
      label.toLowerCase(),
      `${share(estimate)}${ideal === undefined ? "" : `; ideal: ${ideal}`}`,
    ]),
    ...health.principles.map(({ principle, agreement }): [string, string] => [`under ${principle}`, share(agreement)]),
  ];
  return table(lines);
}
