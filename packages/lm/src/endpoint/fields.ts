import { type Refused, refusedField } from "./refusal.ts";

/** Without these a call asks for something else; a server that refuses one cannot be asked. */
const needed = new Set(["model", "messages", "prompt", "n", "echo", "continue_final_message", "add_generation_prompt"]);

const limits = ["max_tokens", "max_completion_tokens"];

/** How the fields of a body go out: under which name, and which not at all. */
export interface Fields {
  /** A body as it is sent. */
  shape(body: Readonly<Record<string, unknown>>): Record<string, unknown>;
  /** Whether a field is left out. */
  without(field: string): boolean;
  /** Learns from a refusal which field of a sent body the server does not take; what is done about it, or undefined. */
  learn(refused: Refused, sent: Readonly<Record<string, unknown>>): string | undefined;
}

/**
 * The fields of one endpoint: the recipe's own names (null: left out), and what the server was found to refuse. A server that knows the limit of a
 * reply by its other name only is told it by that.
 */
export function createFields(named: Readonly<Record<string, string | null>>): Fields {
  const names = new Map<string, string | null>(Object.entries(named));
  const nameOf = (field: string) => (names.has(field) ? names.get(field)! : field);
  return {
    shape: (body) =>
      Object.fromEntries(
        Object.entries(body).flatMap(([field, value]) => {
          const name = value === null ? null : nameOf(field);
          return name === null || value === undefined ? [] : [[name, value]];
        }),
      ),
    without: (field) => nameOf(field) === null,
    learn(refused, sent) {
      const optional = Object.keys(sent).filter((field) => !needed.has(field));
      const field = refusedField(refused, optional);
      if (field === undefined) return undefined;
      const original = [...names].find(([, name]) => name === field)?.[0] ?? field;
      const other = limits.find((limit) => limit !== field);
      if (limits.includes(field)) {
        // Without any limit a reply could be of any length: the second refusal is the person's to see.
        if (original !== field) return undefined;
        names.set(field, other!);
        return `the server does not take '${field}': '${other}' is sent instead`;
      }
      names.set(original, null);
      // How many of the likeliest tokens are wanted means nothing without them.
      if (original === "logprobs") names.set("top_logprobs", null);
      return `the server does not take '${field}': it is left out`;
    },
  };
}
