/** What a bench is, how its rounds are paired, and what is said about them. No processes and no clocks: see child.ts. */

/** How to start one contestant. */
export interface Contestant {
  name: string;
  command: string;
  args: readonly string[];
  /** Its losses are those of ours within this: the same weights learn from the same tokens. */
  sameLoss?: number;
  /** Plays on this device only. */
  only?: string;
}

export interface Bench {
  name: string;
  /** One line: what is done, at what size. */
  summary: string;
  /** Of what is compared, as in "s/step" or "tokens/s". */
  unit: string;
  /** Whether a round's figure is its seconds (less is better) or its work per second (more is better). */
  measure: "seconds" | "rate";
  ours: Contestant;
  peers: readonly Contestant[];
  /** Whether our contestants take `--weights FORMAT`. */
  weights?: true;
  /** Whether all contestants take `--device NAME`. */
  devices?: true;
  /** Contestants do the same at different sizes: rates are compared, and how much was done is not. */
  sizes?: true;
  /** How often a bench is played whose rounds take minutes: counted ones at least, and those before them. */
  rounds?: { fewest: number; warmup: number };
  /** What all contestants are given, as JSON: made before they start. */
  prepare?: () => Promise<object>;
}

/** A contestant's answer to one round: seconds, floating-point operations, bytes. */
export interface Round {
  seconds: number;
  flops?: number;
  work?: number;
  prompt_tokens?: number;
  loss?: number;
  notes?: Record<string, number>;
  peak_rss: number;
}

/** A contestant that is built and waits. */
export interface Player {
  name: string;
  round: () => Promise<Round>;
  /** GFLOP/s of a 2048³ product in the contestant's runtime. */
  ceiling: () => Promise<number>;
  /** Forgets what its rounds have changed. Ours plays against one peer after another, and begins each time as the peer does. */
  reset?: () => Promise<void>;
}

/** One line of `--json`. Figures are medians over rounds; a ratio above 1 means that we are better. */
export interface Comparison {
  bench: string;
  peer: string;
  unit: string;
  ours: number;
  theirs: number;
  ratio: number;
  ratio_min: number;
  ratio_max: number;
  rounds: number;
  /** Our FLOP/s in executed matrix products over what our runtime reaches in one large product; null if not counted. */
  ceiling_share: number | null;
  /** Bytes. */
  peak_rss_ours: number;
  peak_rss_theirs: number;
  /** What else a contestant says about its rounds, medians; absent where none says anything. */
  notes?: { ours: Record<string, number>; theirs: Record<string, number> };
  /** The loss of the first round, where both say one. */
  losses?: { ours: number; theirs: number };
  /** Bytes on the graphics processor, the runtime's own included; absent where it is not told. */
  gpu_memory?: { ours: number; theirs: number };
  /** Share of the processors that others kept busy as this began or over its rounds, where it was too large. */
  busy?: number;
  machine: string;
}

/** A comparison with what only the table shows. Ceilings in GFLOP/s. */
export interface Outcome {
  comparison: Comparison;
  ceilingOurs: number;
  ceilingTheirs: number;
}

/** Of a bench that does not say: what a median with its range needs. */
const usualRounds = { fewest: 5, warmup: 2 };

/**
 * How often a bench is played: as many counted rounds as are asked for, or as few as it allows.
 * @throws RangeError where that is no whole number, or too few
 */
export function roundsOf(bench: Pick<Bench, "name" | "rounds">, asked?: string): { rounds: number; warmup: number } {
  const { fewest, warmup } = bench.rounds ?? usualRounds;
  const rounds = Number(asked ?? fewest);
  if (!Number.isInteger(rounds) || rounds < fewest)
    throw new RangeError(`--rounds of ${bench.name} takes a whole number of at least ${fewest}, got "${asked}".`);
  return { rounds, warmup };
}

export interface Settings {
  /** Counted rounds of each. */
  rounds: number;
  /** Rounds of each before those: memory is touched for the first time, and ONNX Runtime takes twice as long. */
  warmup: number;
  machine: string;
  /** How far first losses may be apart; unchecked where it is not given. */
  sameLoss?: number | undefined;
  busy?: number | undefined;
  /** What share others kept busy over the rounds, asked behind them; undefined where that was not too large, or nobody knows. */
  others?: (() => number | undefined) | undefined;
  onRound?: (player: Player, round: Round, counted: boolean) => void;
}

/**
 * Plays ours, theirs, ours, theirs …, so that a machine which slows down slows both, and compares each pair.
 * The ceiling is measured before and after: the better one counts.
 */
export async function compare(bench: Bench, ours: Player, theirs: Player, settings: Settings): Promise<Outcome> {
  await ours.reset?.();
  const ceilings = [{ ours: await ours.ceiling(), theirs: await theirs.ceiling() }];
  const pairs: { ours: Round; theirs: Round }[] = [];
  let first: (typeof pairs)[number] | undefined;
  for (let index = 0; index < settings.warmup + settings.rounds; index++) {
    const counted = index >= settings.warmup;
    const play = async (player: Player) => {
      const round = await player.round();
      settings.onRound?.(player, round, counted);
      return round;
    };
    const pair = { ours: await play(ours), theirs: await play(theirs) };
    checkSameWork(bench, pair.ours, pair.theirs);
    first ??= pair;
    if (index === 0) checkSameLoss(bench, pair.ours, pair.theirs, settings.sameLoss);
    if (counted) pairs.push(pair);
  }
  const busy = Math.max(settings.busy ?? 0, settings.others?.() ?? 0);
  ceilings.push({ ours: await ours.ceiling(), theirs: await theirs.ceiling() });

  const ceilingOurs = Math.max(...ceilings.map((ceiling) => ceiling.ours));
  const ratios = pairs.map((pair) => ratioOf(bench, pair.ours, pair.theirs));
  const speeds = pairs.flatMap(({ ours: { flops, seconds } }) => (flops === undefined ? [] : [flops / seconds]));
  const notes = {
    ours: medianNotes(pairs.map((pair) => pair.ours)),
    theirs: medianNotes(pairs.map((pair) => pair.theirs)),
  };
  const noted = Object.keys({ ...notes.ours, ...notes.theirs }).length > 0;
  return {
    ceilingOurs,
    ceilingTheirs: Math.max(...ceilings.map((ceiling) => ceiling.theirs)),
    comparison: {
      bench: bench.name,
      peer: theirs.name,
      unit: bench.unit,
      ours: median(pairs.map((pair) => figureOf(bench, pair.ours))),
      theirs: median(pairs.map((pair) => figureOf(bench, pair.theirs))),
      ratio: median(ratios),
      ratio_min: Math.min(...ratios),
      ratio_max: Math.max(...ratios),
      rounds: settings.rounds,
      ceiling_share: speeds.length > 0 ? median(speeds) / (ceilingOurs * 1e9) : null,
      peak_rss_ours: Math.max(...pairs.map((pair) => pair.ours.peak_rss)),
      peak_rss_theirs: Math.max(...pairs.map((pair) => pair.theirs.peak_rss)),
      ...(noted ? { notes } : {}),
      ...(first?.ours.loss === undefined || first.theirs.loss === undefined
        ? {}
        : { losses: { ours: first.ours.loss, theirs: first.theirs.loss } }),
      ...(busy > 0 ? { busy } : {}),
      machine: settings.machine,
    },
  };
}

/** A contestant that produced fewer tokens, or was given others, would win for nothing. */
function checkSameWork(bench: Bench, ours: Round, theirs: Round): void {
  if (bench.sizes) return;
  for (const [key, unit] of [
    ["work", "units of work"],
    ["prompt_tokens", "tokens of prompts"],
  ] as const)
    if (ours[key] !== undefined && theirs[key] !== undefined && ours[key] !== theirs[key])
      throw new Error(`${bench.name}: ours did ${ours[key]} ${unit}, the peer ${theirs[key]}; no comparison`);
}

/** A contestant that computes something else would be compared for nothing. Steps change the weights, so only first losses are held together. */
function checkSameLoss(bench: Bench, ours: Round, theirs: Round, within: number | undefined): void {
  if (within === undefined) return;
  const apart = Math.abs((ours.loss ?? Number.NaN) - (theirs.loss ?? Number.NaN));
  if (!(apart <= within))
    throw new Error(
      `${bench.name}: our first loss is ${ours.loss}, the peer's ${theirs.loss}; expected ${within} between them at most`,
    );
}

function medianNotes(rounds: readonly Round[]): Record<string, number> {
  const names = new Set(rounds.flatMap((round) => Object.keys(round.notes ?? {})));
  return Object.fromEntries([...names].map((name) => [name, median(rounds.map((round) => round.notes?.[name] ?? 0))]));
}

function figureOf(bench: Bench, round: Round): number {
  if (bench.measure === "seconds") return round.seconds;
  if (round.work === undefined) throw new Error(`${bench.name} compares rates, but a contestant reported no work`);
  return round.work / round.seconds;
}

function ratioOf(bench: Bench, ours: Round, theirs: Round): number {
  const quotient = figureOf(bench, ours) / figureOf(bench, theirs);
  return bench.measure === "seconds" ? 1 / quotient : quotient;
}

export function median(values: readonly number[]): number {
  if (values.length === 0) throw new Error("no values, no median");
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** The outcomes of one bench as a table to read. */
export function formatTable(bench: Bench, outcomes: readonly Outcome[]): string {
  const head = ["peer", `ours (${bench.unit})`, "theirs", "ratio", "min … max", "peak ours", "theirs"];
  const rows = outcomes.map(({ comparison: c }) => [
    c.peer,
    c.ours.toPrecision(4),
    c.theirs.toPrecision(4),
    c.ratio.toFixed(2),
    `${c.ratio_min.toFixed(2)} … ${c.ratio_max.toFixed(2)}`,
    gigabytes(c.peak_rss_ours),
    gigabytes(c.peak_rss_theirs),
  ]);
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => row[column]!.length)));
  const lines = [head, ...rows].map((row) =>
    row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!))).join("  "),
  );
  const ceilings = outcomes.map(({ comparison: c, ceilingOurs, ceilingTheirs }) => {
    const share = c.ceiling_share === null ? "" : `; we reach ${(100 * c.ceiling_share).toFixed(0)} % of it`;
    return `ceiling beside ${c.peer}: ${ceilingOurs.toFixed(0)} GFLOP/s ours${share}, ${ceilingTheirs.toFixed(0)} theirs`;
  });
  const notes = outcomes.flatMap(({ comparison: { peer, notes } }) =>
    Object.entries({ [bench.ours.name]: notes?.ours, [peer]: notes?.theirs }).flatMap(([name, said]) =>
      Object.entries(said ?? {}).map(([what, value]) => `${name}, ${what}: ${value.toPrecision(3)}`),
    ),
  );
  const memory = outcomes.flatMap(({ comparison: { peer, gpu_memory: m } }) =>
    m
      ? [`memory of the graphics processor beside ${peer}: ${gigabytes(m.ours)} ours, ${gigabytes(m.theirs)} theirs`]
      : [],
  );
  const busy = outcomes.flatMap(({ comparison: { peer, busy } }) =>
    busy === undefined
      ? []
      : [`Beside ${peer} others kept ${(100 * busy).toFixed(0)} % of the processors busy: this ratio says little.`],
  );
  const machine = outcomes[0]?.comparison.machine ?? "";
  return [
    `${bench.name}: ${bench.summary}`,
    machine,
    "",
    ...lines,
    "",
    ...ceilings,
    ...notes,
    ...memory,
    ...busy,
    `A ratio is the median of ${outcomes[0]?.comparison.rounds ?? 0} paired rounds; above 1 we are better.`,
  ].join("\n");
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(2)} GB`;
}

/** The name that takes the fewest edits to reach, for "did you mean". */
export function nearest(name: string, names: readonly string[]): string | undefined {
  return names.toSorted((a, b) => edits(name, a) - edits(name, b))[0];
}

/** Levenshtein distance. */
function edits(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (const [i, char] of [...from].entries()) {
    const next = [i + 1];
    for (const [j, other] of [...to].entries()) {
      next.push(Math.min(next[j]! + 1, row[j + 1]! + 1, row[j]! + (char === other ? 0 : 1)));
    }
    row = next;
  }
  return row[to.length]!;
}
