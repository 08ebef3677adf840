import { formatInterval, formatValue } from "../format.ts";
import type { CardEstimate, Scorecard } from "../scorecard.ts";
import { type Html, html } from "./html.ts";
import { barAxis, intervalBar, type Scale, scaleOf } from "./plot.ts";

/** A scale for shares, no longer than they need. */
export function shareScale(rows: readonly CardEstimate[]): Scale {
  const top = Math.max(0.05, ...rows.flatMap(({ value, interval: [, high] }) => [value, high ?? 1]));
  return scaleOf([0, Math.min(1, top)]);
}

/** An estimate per checkpoint as bars on one scale. */
export function bars(card: Scorecard, rows: readonly (CardEstimate & { checkpoint: string })[], scale: Scale): Html {
  return html`<div class="bars">${card.checkpoints.map(({ id, label }, series) => {
    const row = rows.find(({ checkpoint }) => checkpoint === id);
    if (!row) return undefined;
    const [value, interval] = [formatValue(row.value, "share"), formatInterval(row.interval, "share")];
    const title = `${label}: ${value}, 95% interval ${interval}, of ${row.n} replies`;
    return html`<div class="row"><span class="label key s${series}">${label}</span>${intervalBar(row, { scale, series, title })}<span class="value"><b>${value}</b><small>${interval}</small></span></div>`;
  })}${barAxis(scale, shareTick)}</div>`;
}

/** "5%", not "5.0%". */
export function shareTick(tick: number): string {
  return formatValue(tick, "share").replace(/^(\d+)\.0%$/, "$1%");
}
