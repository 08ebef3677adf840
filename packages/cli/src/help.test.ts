import { expect, it } from "vitest";
import { surroundings } from "../test/project.ts";
import { commandNames } from "./help.ts";
import { run } from "./index.ts";

async function tenet(...args: string[]) {
  const { io, written } = surroundings({ stdin: "" });
  return { code: await run(args, io), ...written };
}

it("help names every command, in groups, and what one begins with first", async () => {
  const { stdout } = await tenet("--help");
  const headings = ["Begin:", "Run:", "Look:", "Talk:", "Keep:", "This machine:"];
  const places = headings.map((heading) => stdout.indexOf(heading));
  expect(places.every((place, i) => place > (places[i - 1] ?? 0))).toBe(true);
  const listed = [...stdout.matchAll(/^ {2}([a-z]+)(?: .*)?$/gm)]
    .map(([, name]) => name)
    .filter((name) => name !== "help");
  expect(listed).toEqual(commandNames);
});

it("help of a command has examples that name options it has", async () => {
  for (const name of ["init", "advise", "validate", "run", "ls", "show", "report", "export", "chat"]) {
    const { stdout } = await tenet(name, "--help");
    const [options, examples] = stdout.split("\nExamples:\n");
    expect(examples, name).toMatch(new RegExp(`^ {2}tenet ${name}\\b`));
    for (const [option] of examples!.matchAll(/--[a-z-]+/g)) expect(options).toContain(option);
  }
});

it("a wrong call points at the help of its command", async () => {
  expect((await tenet("show")).stderr).toContain("See tenet show --help.");
  expect((await tenet("shw")).stderr).toContain("See tenet --help.");
});

it("doctor says what a device needs", async () => {
  const { stdout } = await tenet("doctor");
  expect(stdout).toMatch(/memory +\d/);
  for (const device of ["webgpu", "cuda"])
    expect(stdout).toMatch(new RegExp(`${device} +(usable|no: .*(It needs|no ${device} provider))`));
}, 120_000);
