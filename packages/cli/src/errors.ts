/**
 * Exit codes: 0 done, 1 failed, 2 called wrongly, 3 a gate refused, 4 the run waits for people, 130 ended by Ctrl-C. Other signals end with 128 and
 * their number, as shells have it: 143 by SIGTERM, 129 as the terminal closed, 141 as nobody reads stdout any more.
 */
export const EXIT = { done: 0, failed: 1, usage: 2, refused: 3, waiting: 4, interrupted: 130 } as const;

/** The command was called wrongly: exit code 2. */
export class CommandUsageError extends Error {
  override name = "UsageError";
}

/** Ctrl-C, or another way of asking the process to end. */
export class Interrupted extends Error {
  override name = "Interrupted";
  readonly exitCode: number;

  constructor(exitCode: number = EXIT.interrupted) {
    super("cancelled");
    this.exitCode = exitCode;
  }
}

/** What the person who called can put right by calling, or by writing a file, otherwise. */
const usageErrors = new Set([
  "UsageError",
  "ThreadsError",
  "ModelReferenceError",
  "ConstitutionError",
  "DocumentError",
  "DatasetError",
  "MixtureError",
  "ExportError",
  "NotInStoreError",
  "StageNameError",
]);

/** Which exit code an error stands for. By name, so that asking loads no package. */
export function exitCodeOf(error: unknown): number {
  const name = error instanceof Error ? error.name : "";
  if (error instanceof Interrupted) return error.exitCode;
  if (name === "GateError") return EXIT.refused;
  if (name === "WaitError") return EXIT.waiting;
  return usageErrors.has(name) ? EXIT.usage : EXIT.failed;
}

/** The candidate that differs from `word` in the fewest characters, if it is at all like it. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  let best: { candidate: string; edits: number } | undefined;
  for (const candidate of candidates) {
    const edits = candidate.startsWith(word) && word.length > 2 ? 1 : distance(word, candidate);
    if (edits <= Math.max(2, candidate.length / 3) && edits < (best?.edits ?? Number.POSITIVE_INFINITY))
      best = { candidate, edits };
  }
  return best?.candidate;
}

/** Levenshtein's: insertions, deletions and substitutions that turn a into b. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[b.length]!;
}
