/** What Python's `str.strip` takes off by default; JavaScript's `trim` differs in six characters. */
const SPACES =
  "\t\n\v\f\r\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000";

/** Python's strip, lstrip and rstrip: takes characters that are among `characters` off the named ends. */
export function strip(text: string, ends: "both" | "start" | "end", characters: string = SPACES): string {
  const off = new Set(characters);
  const letters = [...text];
  let [from, to] = [0, letters.length];
  if (ends !== "end") while (from < to && off.has(letters[from]!)) from++;
  if (ends !== "start") while (to > from && off.has(letters[to - 1]!)) to--;
  return letters.slice(from, to).join("");
}
