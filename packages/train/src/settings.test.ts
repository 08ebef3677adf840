import { expect, test } from "vitest";
import { dpoSettingsSchema } from "./dpo.ts";
import { ppoSettingsSchema } from "./ppo.ts";
import { preferenceSettingsSchema } from "./preference.ts";
import { sftSettingsSchema } from "./sft.ts";

test.each([
  ["sft", sftSettingsSchema, {}, ["epochs", "microBatchTokens", "maxLength"]],
  ["dpo", dpoSettingsSchema, { algorithm: "dpo" }, ["epochs", "microBatchTokens", "maxLength"]],
  ["preference", preferenceSettingsSchema, {}, ["epochs", "microBatchTokens", "maxLength"]],
  ["ppo", ppoSettingsSchema, { algorithm: "ppo" }, ["epochs", "microBatchTokens"]],
] as const)("%s: numbers that no array can have the length of are refused by name", (_, schema, rest, fields) => {
  for (const field of fields) {
    expect(schema.safeParse({ ...rest, [field]: 10_000 }).success, field).toBe(true);
    const { error } = schema.safeParse({ ...rest, [field]: 10_000_000_000 });
    expect(error?.issues).toMatchObject([{ code: "too_big", path: [field] }]);
  }
});
