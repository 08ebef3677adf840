import { groupBy } from "@tenet/data";
import type { StageInfo, UsageTotal } from "@tenet/runs";
import type { ScorecardInput } from "../evaluate/index.ts";
import { labelCosts, type RoleUsage } from "../feedback/index.ts";
import type { Word } from "../people/index.ts";
import { isServed, type Recipe } from "./recipe.ts";

/** People's price of a label in dollars, from low to high. METHODS §3. */
const humanUsd = [1, 10] as const;

/**
 * What the labels that a run asked for cost it, of models that are computed here by the time of this machine, where it has a price. Nothing
 * where no model gave any in this run: labels that an earlier one paid for cost this one nothing, and what they cost is not known here.
 */
export function labellingOf(
  stages: readonly Pick<StageInfo, "name" | "kind" | "rows" | "seconds" | "attempts">[],
  usage: readonly UsageTotal[],
  { evaluate: { machineUsdPerHour: hour }, roles, feedback }: Pick<Recipe, "evaluate" | "roles" | "feedback">,
  {
    words = [],
    anew,
  }: {
    /** What people said. */
    readonly words?: readonly Word[];
    /** What each stage asked anew, where that is known: the price is of these, and not of what the store had already. */
    readonly anew?: ReadonlyMap<string, { readonly rows: number }>;
  } = {},
): Pick<ScorecardInput, "labelling" | "humanLabelUsd"> {
  const asked = stages.filter(({ attempts }) => attempts > 0);
  const audited = ({ name }: { readonly name: string }) => name.endsWith("audit labels");
  // People's own price, where the recipe says it.
  const usdEach = feedback.people?.usd;
  const people = words.length === 0 ? [] : [peoplesUsage(words, usdEach)];
  const asks = usdEach === undefined ? humanUsd : ([usdEach, usdEach] as const);
  const byPeople = feedback.label.method === "people";
  const labelling = asked.filter(
    (one) => (one.kind === "label" || (byPeople && one.kind === "label-by-people")) && !audited(one),
  );
  const made = labelling.map(({ name, kind, rows }) =>
    kind === "label" && anew !== undefined ? anew.get(name)?.rows : rows,
  );
  // Of a killed stage it is not known how many labels its tokens were for, and so not what one of them cost.
  if (made.includes(undefined)) return {};
  const labels = made.reduce<number>((sum, rows) => sum + rows!, 0);
  const price = (seconds: number) => (hour === undefined ? undefined : (hour * seconds) / 3600);
  const spent = (some: readonly { readonly name: string }[]): RoleUsage[] => {
    const names = new Set(some.map(({ name }) => name));
    const own = usage.filter(({ stage }) => names.has(stage));
    return [...groupBy(own, ({ role }) => role)].map(([role, rows]) => {
      const sum = (of: (row: UsageTotal) => number) => rows.reduce((total, row) => total + of(row), 0);
      const player = roles[role as keyof typeof roles];
      const remote = isServed(player);
      const prices = rows.map(({ dollars, seconds }) => (remote ? dollars : price(seconds)));
      return {
        role,
        promptTokens: sum((row) => row.promptTokens),
        completionTokens: sum((row) => row.completionTokens),
        seconds: sum((row) => row.seconds),
        usd: prices.some((one) => one === undefined)
          ? undefined
          : prices.reduce<number>((total, one) => total + one!, 0),
      };
    });
  };
  const each = byPeople ? people : spent(labelling);
  if (labels === 0 || each.length === 0) return {};
  const trained = asked
    .filter(({ kind }) => kind === "judge")
    .map(({ name, seconds }): RoleUsage => {
      return { role: name, promptTokens: 0, completionTokens: 0, seconds, usd: price(seconds) };
    });
  const known = feedback.audit?.people ? people : [];
  const fixed = [...spent(asked.filter((one) => one.kind === "label" && audited(one))), ...trained, ...known];
  return { labelling: labelCosts({ labels, roles: each, fixed, humanUsd: asks }), humanLabelUsd: [...asks] };
}

/** What people's judgements took: the time of those that were measured, and the price of each. */
function peoplesUsage(words: readonly Word[], usd: number | undefined): RoleUsage {
  const times = words.flatMap(({ value }) => value.milliseconds ?? []);
  return {
    ...{ role: "people", promptTokens: 0, completionTokens: 0 },
    seconds: times.reduce((sum, time) => sum + time, 0) / 1000,
    usd: usd === undefined ? undefined : usd * words.length,
  };
}
