import { avoidsOf, imitatesOf } from "../parts/policy-judges.ts";
import type { Recipe } from "../recipe.ts";
import { planOf } from "../rounds.ts";
import type { Rules } from "./rule.ts";

/** Tokens in which reasoning and a reply behind it find room, at the least. */
const leastTokens = 64;

/** What a policy that reasons before it replies cannot learn from. */
export const reasoningRules: Rules = ({ recipe }) => {
  const { policy } = recipe;
  if (policy === undefined || !reasons(recipe)) return [];
  return [
    {
      at: ["policy", "algorithm"],
      when: policy.algorithm === "dpo",
      expected:
        '"ppo", "grpo", "rloo" or "best-of-n" beside supervised.deliberate: pairs hold replies as a person sees them, and who learns these learns to answer without reasoning',
    },
    {
      at: ["policy", "avoid"],
      when: avoidsOf(policy) !== undefined,
      expected:
        "none beside supervised.deliberate: it unlearns replies as a person sees them, and this policy says none without reasoning; policy.reward.constitution and policy.constraint look at what it says",
      got: "replies of the pairs",
    },
    {
      at: ["policy", "maxTokens"],
      when: "maxTokens" in policy && policy.maxTokens < leastTokens,
      expected: `at least ${leastTokens} beside supervised.deliberate: the reasoning before a reply takes of them too`,
    },
  ];
};

/** Whether a policy begins as a model that was taught to reason before each reply, or is taught it in its own updates. */
export function reasons({ supervised, policy, arrangement }: Recipe): boolean {
  if (supervised.deliberate === undefined || policy === undefined) return false;
  const { steps, rounds } = planOf({ arrangement, policy });
  const behind = steps.includes("supervised") && (steps[0] === "supervised" || rounds > 1);
  return behind || imitatesOf(policy) !== undefined;
}
