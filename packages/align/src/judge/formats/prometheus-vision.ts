import { shownWith } from "@tenet/data";
import type { AbsoluteFormat } from "./format.ts";
import { direct, prometheus1 } from "./prometheus.ts";

const words = direct([], " an image");

/**
 * Prometheus-Vision (2401.06591): Prometheus' direct assessment of a response to an instruction about an image, which comes before the
 * words. Its training texts end with "So the overall score is 4.", what it is asked for is "[RESULT] 4": both are read. Sampled as published.
 */
export const prometheusVision: AbsoluteFormat = {
  ...prometheus1,
  images: "one",
  sampling: { temperature: 1, topP: 0.9 },
  messages: (shown) => words(shown).map((message) => ({ ...message, ...shownWith(shown.prompt) })),
};
