/** What a piece of text let through. */
export interface StopStep {
  /** Text that is certainly part of the reply. */
  text: string;
  /** The stop string that ended the reply, once one has. */
  stop?: string;
}

/** Finds stop strings in text that arrives in pieces. */
export interface StopDetector {
  push(piece: string): StopStep;
  /** What was held back as a possible beginning of a stop string and did not become one. */
  flush(): string;
}

/**
 * Watches a stream of text for stop strings, also those that lie across pieces.
 *
 * The reply ends at the first position where any stop string is complete, and is cut where that string begins (where the
 * longest begins if several end there). The result is the same however the text is cut into pieces; text that may yet
 * turn out to begin a stop string is held back. After a stop, further pieces give nothing.
 * Errors: none.
 *
 * @example
 * const stops = stopDetector(["\n\nHuman:"]);
 * stops.push("Yes.\n\nHu").text; // "Yes."
 * stops.push("man: and"); // { text: "", stop: "\n\nHuman:" }
 */
export function stopDetector(stops: readonly string[]): StopDetector {
  let held = "";
  let stopped: string | undefined;

  return {
    push(piece) {
      if (stopped !== undefined) return { text: "", stop: stopped };
      const text = held + piece;
      let end = Number.POSITIVE_INFINITY;
      for (const stop of stops) {
        const at = text.indexOf(stop);
        if (at < 0) continue;
        const stopEnd = at + stop.length;
        if (stopEnd < end || (stopEnd === end && stop.length > stopped!.length)) {
          end = stopEnd;
          stopped = stop;
        }
      }
      held = "";
      if (stopped !== undefined) return { text: text.slice(0, end - stopped.length), stop: stopped };
      const safe = text.length - longestPartial(text, stops);
      held = text.slice(safe);
      return { text: text.slice(0, safe) };
    },
    flush() {
      const rest = held;
      held = "";
      return rest;
    },
  };
}

/** Length of the longest end of `text` that begins a stop string. */
function longestPartial(text: string, stops: readonly string[]): number {
  let longest = 0;
  for (const stop of stops)
    for (let length = Math.min(stop.length - 1, text.length); length > longest; length--)
      if (text.endsWith(stop.slice(0, length))) {
        longest = length;
        break;
      }
  return longest;
}
