import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { surroundings } from "../test/project.ts";
import { run } from "./index.ts";
import { printJson, redraw, say, tell } from "./io.ts";

const steering = "\u001b]0;renamed\u0007\u001b[2J\u009b31m\u0000\r\u007f";

describe("what is printed cannot steer a terminal", () => {
  it("by whatever way it is printed", () => {
    const { io, written } = surroundings();
    say(io, `a${steering}b\n\tc\n`);
    tell(io, `a${steering}b\n`);
    expect(written).toEqual({ stdout: "a]0;renamed[2J31mb\n\tc\n", stderr: "a]0;renamed[2J31mb\n" });
    redraw(io, `a${steering}b`);
    expect(written.stderr.endsWith("\n\r\u001b[Ka]0;renamed[2J31mb")).toBe(true);
  });

  it("as JSON, which keeps it", () => {
    const { io, written } = surroundings();
    printJson(io, { text: steering });
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there
    expect(written.stdout).toMatch(/^[^\u0000-\u0009\u000b-\u001f\u007f-\u009f]*\n$/);
    expect(JSON.parse(written.stdout)).toEqual({ text: steering });
  });

  it("in errors, whose texts hold names of files and what was typed", async () => {
    for (const args of [
      ["validate", `none${steering}.yaml`],
      [`ls${steering}`],
      ["show", `latest${steering}`, "--debug"],
    ]) {
      const { io, written } = surroundings({ stdin: "" });
      expect(await run(args, io)).toBe(2);
      // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there
      expect(written.stderr).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/);
    }
  });

  it("because nothing writes past io.ts, but a model's words into a pipe", () => {
    const past = readdirSync(new URL(".", import.meta.url))
      .filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts") && name !== "io.ts")
      .flatMap((name) => {
        const text = readFileSync(new URL(name, import.meta.url), "utf8");
        return [...text.matchAll(/.*(?:std(?:out|err)\.write|console\.).*/g)].map(
          ([line]) => `${name}: ${line.trim()}`,
        );
      });
    expect(past).toEqual([
      "chat.ts: const write = (text: string) => void io.stdout.write(shownOnTerminal ? printable(text) : text);",
    ]);
  });
});
