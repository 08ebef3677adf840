/** 98362432 → "98.4 MB" */
export function formatBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  let value = bytes;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 || value >= 99.95 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** 134515008 → "135M" */
export function formatCount(count: number): string {
  if (count >= 1e9) return `${(count / 1e9).toFixed(1).replace(/\.0$/, "")}B`;
  return count >= 1e6 ? `${Math.round(count / 1e6)}M` : String(count);
}

/** 75 → "1 min 15 s" */
export function formatSeconds(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** "2GB", "500 MB" or plain bytes; undefined for anything else. */
export function parseBytes(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*(k|m|g|t)?b?$/i.exec(text.trim());
  if (!match) return undefined;
  const power = ["k", "m", "g", "t"].indexOf((match[2] ?? "").toLowerCase()) + 1;
  return Math.round(Number(match[1]) * 1000 ** power);
}

/** A path as one word of a command that is shown: quoted where a shell would take it for several, or read something into it. */
export function shellWord(path: string, platform: string = process.platform): string {
  if (platform === "win32") return /^[\p{L}\p{M}\p{N}\\/._:@~+=-]+$/u.test(path) ? path : `"${path}"`;
  return /^[\p{L}\p{M}\p{N}/._:@%+=,-]+$/u.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}

/** Columns as wide as their widest cell; the last one is left as it is. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]!.length))) ?? [];
  return rows
    .map((row) =>
      row
        .map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column]!)))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** A model's words for a terminal: without the control characters that would move its cursor or rename its window. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is taken out
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, "");
}
