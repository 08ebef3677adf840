import type { JudgeFormatName } from "@tenet/train";
import { autoJPairwise, autoJSingle } from "./auto-j.ts";
import { critiqueLlmCritic, critiqueLlmPairwise, critiqueLlmSingle } from "./critique-llm.ts";
import type { AbsoluteFormat, CritiqueFormat, RelativeFormat } from "./format.ts";
import { prometheus1, prometheus2Direct, prometheus2Relative } from "./prometheus.ts";
import { prometheusVision } from "./prometheus-vision.ts";
import { rating } from "./rating.ts";
import { shepherd } from "./shepherd.ts";

export {
  type AbsoluteFormat,
  type Critique,
  type CritiqueFormat,
  type JudgeCase,
  type RelativeFormat,
  unshown,
} from "./format.ts";

/** Judges that answer in words, by name: how each scores one response and, where it can, compares two. */
export const judgeFormats = {
  "prometheus-1": { absolute: prometheus1 },
  "prometheus-2": { absolute: prometheus2Direct, relative: prometheus2Relative },
  "prometheus-vision": { absolute: prometheusVision },
  "auto-j": { absolute: autoJSingle, relative: autoJPairwise },
  "critique-llm": { absolute: critiqueLlmSingle, relative: critiqueLlmPairwise },
  rating: { absolute: rating },
} as const satisfies Record<WordedFormat, { absolute: AbsoluteFormat; relative?: RelativeFormat }>;

/** All but the one whose verdict is read off log-probabilities. */
export type WordedFormat = Exclude<JudgeFormatName, "d-rlaif">;

/** Trained critics, by name: how each is asked what is wrong with a response. */
export const critiqueFormats = { shepherd, "critique-llm": critiqueLlmCritic } as const satisfies Record<
  string,
  CritiqueFormat
>;
