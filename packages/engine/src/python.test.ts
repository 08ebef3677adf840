import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { enginePython } from "./environment.ts";
import { programFolder } from "./launch.ts";

const found = enginePython();
const missing = "missing" in found ? found.missing : undefined;
if (missing) console.log(`skipped: the engine's model is not tested in Python: ${missing}`);

describe.skipIf(missing)("the engine's own tests in Python", () => {
  it("values, their derivatives against autograd of the whole, states, adapters beside each other", () => {
    const { python } = found as { python: string };
    const { status, stderr } = spawnSync(python, ["-m", "unittest", "tests.py"], {
      ...{ cwd: programFolder, encoding: "utf8", env: { ...process.env, PYTHONDONTWRITEBYTECODE: "1" } },
    });
    expect(stderr).toMatch(/Ran [1-9]\d* tests/);
    expect(status, stderr).toBe(0);
  }, 600_000);
});
