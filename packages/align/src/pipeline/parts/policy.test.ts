import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SelectionOptions } from "@tenet/train";
import { afterAll, expect, it, vi } from "vitest";
import { reinforcedRecipe, writeRecipe } from "../../../test/pipeline/fixture.ts";
import { openRecipe } from "../open.ts";
import { startRun } from "../run.ts";

const seen: SelectionOptions["mayPay"][] = [];
vi.mock("@tenet/train", async (original) => ({
  ...(await original<typeof import("@tenet/train")>()),
  trainPolicy({ selection }: { selection: SelectionOptions }) {
    seen.push(selection.mayPay);
    throw new Error("enough is known");
  },
}));

const home = mkdtempSync(join(tmpdir(), "tenet-policy-part-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));

it.each([
  ["reverse", "untrained"],
  ["sequential", undefined],
])("a policy of the model that the run began with may leave it at a price (%s)", async (arrangement, mayPay) => {
  const recipe = `${reinforcedRecipe.replace("prompts: {", "prompts: { validation: { share: 0.3 },")}arrangement: ${arrangement}\n`;
  const file = await writeRecipe(join(home, arrangement), { recipe });
  const options = { store: join(home, "runs"), device: "cpu", threads: 1, cacheDir: join(home, "cache") } as const;
  await expect(startRun(await openRecipe(file), options).finished).rejects.toThrow("enough is known");
  expect(seen.splice(0)).toEqual([mayPay]);
});
