import type { Figure } from "./common.ts";
import type { CheckVerdict } from "./rows.ts";

/* What is done from the page: chats, new runs, exports. */

export interface Checkpoints {
  checkpoints: { id: string; label: string }[];
}

/** A line of the answer to what is said in the chat. */
export type ChatLine =
  | { type: "loading"; checkpoints: string[] }
  | { type: "text"; checkpoint: string; text: string }
  | { type: "done"; checkpoint: string; text: string; finishReason: string; seconds: number; verdicts?: CheckVerdict[] }
  | { type: "error"; message: string };

/** How often the checkpoints of a run won in blind comparisons of the chat. */
export interface ChatVotes {
  votes: number;
  wins: { checkpoint: string; won: Figure; ties: number }[];
}

export interface RecipeFile {
  file: string;
  name: string;
  folder: string;
}
export interface RecipeFiles {
  recipes: RecipeFile[];
}
export interface RecipeText {
  text: string;
}

/** What is wrong with a recipe; or what running it would be. */
export interface RecipeCheck {
  problems: { message: string; line?: number }[];
  run?: string;
  /** Whether the store has the run already. */
  begun?: boolean;
  command?: string;
  warnings?: string[];
  notes?: readonly string[];
  estimate?: {
    stages: { stage: string; title: string; state: string; rows: number; seconds?: number }[];
    /** Of the stages whose rate is known. */
    seconds: number;
    untimed: readonly string[];
    promptTokens: number;
    completionTokens: number;
    dollars?: number;
  };
}

export interface LaunchState {
  running: boolean;
  /** The store has the run. */
  begun: boolean;
  /** The end of what the process said. */
  said: string;
  /** It ended with; null where it could not be started, or was killed. */
  code?: number | null;
}

export interface Exports {
  parts: { part: string; command: string }[];
  checkpoints: { id: string; label: string }[];
}
