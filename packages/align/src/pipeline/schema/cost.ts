import { costModelSettingsSchema } from "@tenet/train";
import { z } from "zod";
import { gateFields } from "../../evaluate/gate.ts";

const { chance: _, ...override } = gateFields;

export const costModelSchema = z.strictObject({
  ...costModelSettingsSchema.shape,
  by: z
    .enum(["checks", "critic", "both"])
    .default("checks")
    .describe("Who says how unsafe the pairs' replies are: programs, the critic (roles.critic), or both."),
  principles: z
    .union([z.literal("all"), z.int().min(1)])
    .default("all")
    .describe("Principles that the critic is asked about: so many, drawn by weight for each prompt, or all."),
  gate: z
    .strictObject(override)
    .prefault({})
    .describe(
      "On held-out pairs the sign of the cost has to be right more often than calling all replies alike would be.",
    ),
});
