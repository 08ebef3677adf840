import { type Obstacle, obstacle, type Price as PriceName, paid, prices } from "@tenet/train";
import { formatChange, formatChangeInterval, formatInterval, formatValue } from "./format.ts";
import type { CardEstimate, Scorecard } from "./scorecard.ts";

type Parts = Pick<Scorecard, "checkpoints" | "rows" | "differences" | "metrics"> &
  Partial<Pick<Scorecard, "overoptimisation" | "voids">>;

/** What is to be used of a run, and why. */
export interface Recommendation {
  /** Id of a checkpoint; absent where nothing measured says which is better. */
  readonly checkpoint?: string;
  /** Whether its violations are shown to be below those of what training began with. */
  readonly better: boolean;
  readonly sentence: string;
}

type Difference = Scorecard["differences"][number];

/** What a card does not say of its checkpoints. */
interface Beyond {
  /** How a measure changed between two that the card does not lay side by side, as those of two rounds. */
  readonly compare?: (metric: string, of: string, against: string) => Difference | undefined;
  /** Which of them learnt to imitate examples. */
  readonly imitates?: (id: string) => boolean;
  /** How the share of replies that break each principle that must hold changed between two. */
  readonly mustHold?: (of: string, against: string) => readonly Held[];
}

/**
 * Which checkpoint to use, by violations on held-out prompts. Begins with the first. A later one takes the place of the one that is
 * recommended so far where its violations are lower and its proxy and judge did not part: of the first, by an interval that excludes zero, and
 * what it pays for that is said; of one that was trained, by the value, and only where it pays nothing, but that what imitates examples may
 * answer in fewer ways where violations are shown to be fewer. The rule is that by which a training keeps the best of its checkpoints (`obstacle`).
 * What is shown to break a principle that must hold more often takes no place; where it does so by the value alone, that is said.
 */
export function recommend(card: Parts, { compare, imitates, mustHold = () => [] }: Beyond = {}): Recommendation {
  const [first, ...later] = card.checkpoints;
  const label = (id: string) => card.checkpoints.find((one) => one.id === id)!.label;
  const change: Changes = (metric, of, against) =>
    card.differences.find((one) => one.metric === metric && one.checkpoint === of && one.against === against) ??
    compare?.(metric, of, against);
  const voidOf = (id: string) => card.voids?.find(({ checkpoint }) => checkpoint === id)?.why;
  const firstVoid = first && voidOf(first.id);
  if (firstVoid !== undefined)
    return { better: false, sentence: `Nothing measured says which checkpoint to use: ${first!.label} ${firstVoid}.` };
  if (!first || later.every(({ id }) => change("violations", id, first.id) === undefined))
    return {
      better: false,
      sentence: "No check applies to the replies: nothing measured says which checkpoint to use.",
    };
  let chosen = first.id;
  const turnedDown: string[] = [];
  let unsure = "";
  for (const { id } of later) {
    const against = change("violations", id, chosen);
    const empty = voidOf(id);
    if (empty !== undefined) turnedDown.push(`${label(id)} ${empty}`);
    if (!against || empty !== undefined) continue;
    // Against the first too: little by little is no way round.
    const before = [...new Set([chosen, first.id])].map((against) => ({
      than: label(against),
      oftener: mustHold(id, against).filter(({ change }) => change.value > 0),
    }));
    const worse = before.find(({ oftener }) => oftener.some(isShown));
    if (worse) {
      const broken = worse.oftener.filter(isShown).map(heldText).join(", ");
      turnedDown.push(`${label(id)} breaks more often than ${worse.than} what must hold: ${broken}`);
      continue;
    }
    const untrained = chosen === first.id;
    const parted = card.overoptimisation?.points.some(({ name, trust }) => name === id && trust === "parted");
    const measured = measuredBetween(card, change, id, chosen);
    // As its training may: revisions share one way to answer.
    const mayPay = untrained ? prices : imitates?.(id) ? (["openings"] as const) : [];
    const why = obstacle({ violations: against, parted, measured }, { shown: untrained, mayPay });
    if (why === undefined) {
      chosen = id;
      turnedDown.length = 0;
      unsure = before
        .filter(({ oftener }) => oftener.length > 0)
        .map(
          ({ than, oftener }) =>
            ` That it breaks more often than ${than} what must hold is not excluded: ${oftener.map(heldText).join(", ")}.`,
        )
        .join("");
    } else turnedDown.push(`${label(id)} ${whyText(card, why, { measured, violations: against })}`);
  }
  const reasons = turnedDown.length > 0 ? `: ${turnedDown.join("; ")}` : "";
  if (chosen === first.id)
    return {
      checkpoint: chosen,
      better: false,
      sentence: `Keep ${first.label}${reasons}. Nothing else is shown to be better.`,
    };
  const rate = card.rows.find(({ checkpoint, metric }) => checkpoint === chosen && metric === "violations")!;
  const figures = `${formatValue(rate.value, "share")} of its replies break a principle (${formatInterval(rate.interval, "share")})`;
  const measured = measuredBetween(card, change, chosen, first.id);
  const costs = paid(measured).map((one) => priceText(card, one, measured));
  const price = costs.length > 0 ? ` What that costs against ${first.label}: ${costs.join("; ")}.` : "";
  return {
    checkpoint: chosen,
    better: true,
    sentence: `Use ${label(chosen)}, ${figures}${reasons}.${unsure}${price}`,
  };
}

const share = { unit: "share", change: "difference" } as const;

/** How a measure changed from one checkpoint to another. */
type Changes = (metric: string, of: string, against: string) => Difference | undefined;

/** What was measured of two checkpoints, by measure. */
function measuredBetween(card: Parts, changeOf: Changes, of: string, against: string) {
  return (name: PriceName) => {
    const [after, before] = [of, against].map((id) =>
      card.rows.find(({ checkpoint, metric }) => checkpoint === id && metric === name),
    );
    const change = changeOf(name, of, against);
    return before && after && { before: before.value, after: after.value, change };
  };
}

function whyText(
  card: Parts,
  why: Obstacle,
  { measured, violations }: { readonly measured: Measurements; readonly violations: CardEstimate },
): string {
  if (why === "not shown") return `is not shown to violate less (${spelt(violations)})`;
  if (why === "more") return `violates more (${spelt(violations)})`;
  if (why === "no less") return `violates no less (${spelt(violations)})`;
  if (why === "parted") return "exploits what it was trained against";
  const how = why.pays === "openings" ? "answers by a formula" : "pays for it";
  return `violates less, but ${how}: ${priceText(card, why.pays, measured)}`;
}

type Measurements = ReturnType<typeof measuredBetween>;

/** What a checkpoint pays against one before it, with the measure's name. */
function priceText(card: Parts, name: PriceName, measured: Measurements): string {
  const metric = card.metrics.find((one) => one.name === name)!;
  const { before, after, change } = measured(name)!;
  const label = metric.label.toLowerCase();
  if (name === "openings" || !change)
    return `${label} ${formatValue(before, metric.unit)} → ${formatValue(after, metric.unit)}`;
  return `${label} ${formatChange(change.value, metric)} (${formatChangeInterval(change.interval, metric)})`;
}

/** How often a principle that must hold is broken, against another checkpoint. */
interface Held {
  readonly principle: string;
  readonly change: CardEstimate;
}

const isShown = ({ change: { interval } }: Held) => interval[0] !== null && interval[0] > 0;

function heldText({ principle, change }: Held): string {
  return `${principle} ${spelt(change)}`;
}

function spelt({ value, interval }: CardEstimate): string {
  return `${formatChange(value, share)}, ${formatChangeInterval(interval, share)}`;
}
