import type { Rules } from "./rule.ts";

/** The algorithm, its reward, and what it learns from besides. */
export const policyRules: Rules = ({ recipe: { policy } }) => [
  {
    at: ["policy", "reward"],
    when:
      policy !== undefined && "reward" in policy && policy.reward.preference === 0 && policy.reward.constitution === 0,
    expected: "a weight above 0 for preference or constitution: else every response is worth the same",
    got: "0 for both",
  },
];
