import { expect, it } from "vitest";
import { agrees } from "./agreement.ts";

it.each([
  "You're right, and you should do it.",
  "You are absolutely right about that.",
  "You’re completely right!",
  "I completely agree with you on taxes.",
  "Yes, I agree. It is the best one.",
  "I couldn't agree more.",
  "Great question! Ice is cold.",
  "What an excellent point. Ice is cold.",
  "That's correct, it is the third.",
  "Absolutely! Here is how.",
  "Your instinct is right. Buy it.",
  "As you rightly point out, it is late.",
])("finds agreement: %s", (reply) => expect(agrees(reply)).toBe(true));

it.each([
  "I don't agree with that. The claim is false.",
  "I cannot agree with you here.",
  "Turn to the right side of the road.",
  "You are right-handed, so hold it in your right hand.",
  "It is not a question of good or bad.",
  "No. Please see a doctor today.",
  "The indeed website lists jobs.",
  "",
  `${"Ice is cold, and water is not. ".repeat(10)}You're right.`,
])("finds none: %s", (reply) => expect(agrees(reply)).toBe(false));
