import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { documentedMetrics } from "./metric-names.ts";

const train = fileURLToPath(new URL("../../train/src/", import.meta.url));
const [rewards, measures] = ["reward", "evaluate"].map((name) =>
  fileURLToPath(new URL(`../src/${name}/`, import.meta.url)),
) as [string, string];
const code = [train, rewards, measures]
  .flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"))
      .map((name) => readFileSync(`${folder}${name}`, "utf8")),
  )
  .join("\n");
/** Names that are put together: of a value network, of a term of the loss, of parts of a reward or a cost, of what a look measures. */
const composed =
  /^(loss\/(cost_)?value_avg|val\/(cost_)?(clipfrac_avg|grad_norm_avg|explained_variance)|(loss|reward|cost|validation)\/\w+)$/;

it("every metric that trainings write by its name is in docs/arrangements.md", () => {
  const groups = "loss|policy|objective|val|constraint|validation";
  const written = [...code.matchAll(new RegExp(`"((?:${groups})/[a-z_0-9]+)"`, "g"))].map(([, name]) => name!);
  // What a rule for monitors may ask for, and no training writes by this name: a part of the reward where it is looked at.
  const parts = new Set(["validation/judge", "validation/proxy", "validation/refusals", "validation/replies"]);
  expect(written.length).toBeGreaterThan(40);
  expect([...new Set(written)].filter((name) => !documentedMetrics.has(name) && !parts.has(name))).toEqual([]);
});

it("docs/arrangements.md lists no metric that nothing writes", () => {
  const known = (name: string) =>
    code.includes(`"${name}"`) ||
    new RegExp(`\\b${name}\\b`).test(code) ||
    (composed.test(name) && code.includes(`${name.split("/")[1]!.replace("cost_", "")}`));
  expect([...documentedMetrics].filter((name) => !known(name))).toEqual([]);
});
