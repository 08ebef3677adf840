import { spawnSync } from "node:child_process";
import { expect, it } from "vitest";
import { surroundings } from "../test/project.ts";
import { shells } from "./completion.ts";
import { commandNames } from "./help.ts";
import { run } from "./index.ts";

async function script(shell: string) {
  const { io, written } = surroundings({ stdin: "" });
  expect(await run(["completion", shell], io)).toBe(0);
  return written.stdout;
}

it.skipIf(spawnSync("bash", ["--version"]).status !== 0)(
  "bash offers commands, options, and values where they are listed",
  async () => {
    const text = await script("bash");
    const offered = (...typed: string[]) => {
      const list = typed.map((word) => `'${word}'`).join(" ");
      const asked = `${text}\nCOMP_WORDS=(${list})\nCOMP_CWORD=${typed.length - 1}\n_tenet\nprintf '%s\\n' "\${COMPREPLY[@]}"`;
      const { stdout, stderr, status } = spawnSync("bash", ["--norc", "-c", asked], { encoding: "utf8" });
      expect([stderr, status]).toEqual(["", 0]);
      return stdout.split("\n").filter(Boolean);
    };
    expect(
      offered("tenet", "")
        .filter((word) => !word.startsWith("-"))
        .sort(),
    ).toEqual(
      [...commandNames, "help"].filter((name) => name !== "help" || offered("tenet", "h").includes("help")).sort(),
    );
    expect(offered("tenet", "va")).toEqual(["validate"]);
    expect(offered("tenet", "run", "recipe.yaml", "--lim")).toEqual(["--limit"]);
    expect(offered("tenet", "chat", "--device", "w")).toEqual(["webgpu"]);
    expect(offered("tenet", "models", "p")).toEqual(["pull"]);
    expect(offered("tenet", "models", "pull", "--off")).toEqual(["--offline"]);
    // Files are the shell's own business.
    expect(offered("tenet", "run", "rec")).toEqual([]);
  },
);

it("every shell is offered every command, with its options", async () => {
  for (const shell of shells) {
    const text = await script(shell);
    for (const name of commandNames) expect([shell, name, text.includes(name)]).toEqual([shell, name, true]);
    expect(text).toContain("dry-run");
  }
});

it("another shell is a wrong call", async () => {
  const { io, written } = surroundings({ stdin: "" });
  expect(await run(["completion", "csh"], io)).toBe(2);
  expect(written.stderr).toContain("bash, zsh, fish");
});
