/** Where a fenced block begins. */
export interface Fence {
  /** What opens it, and what its end has at least as much of: three backquotes or tildes, or more. */
  readonly mark: string;
  /** First word behind the mark, or nothing; what else stands there says nothing of how the block is read. */
  readonly language: string;
}

/** The fence that a line opens, as CommonMark has it (§4.5), but for its indentation; undefined where it opens none. */
export function fenceIn(line: string): Fence | undefined {
  const found = /^(?:(`{3,})([^`]*)|(~{3,})(.*))$/.exec(line);
  if (!found) return undefined;
  const [mark, info] = [found[1] ?? found[3]!, found[2] ?? found[4]!];
  return { mark, language: info.trim().split(/\s/, 1)[0]! };
}

/** Whether a line ends a fenced block: of the mark's character alone, at least as many. */
export function endsFence(line: string, mark: string): boolean {
  const text = line.trimEnd();
  return text.startsWith(mark) && [...text].every((character) => character === mark[0]);
}
