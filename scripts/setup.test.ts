import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { exclusively, installedMatches, needed, npmCommand, setup } from "./setup.mjs";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "setup-"));
});
afterEach(() => rmSync(root, { recursive: true }));

const lockText = (packages: object) => JSON.stringify({ lockfileVersion: 3, packages });
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const wanted = {
  "": { name: "workspace" },
  "packages/a": { version: "0.0.0" },
  "node_modules/@x/a": { resolved: "packages/a", link: true },
  "node_modules/one": { version: "1.0.0", integrity: "sha512-one" },
  "node_modules/binary-elsewhere": { version: "1.0.0", integrity: "sha512-binary", optional: true },
};

test("an installed tree matches its lock file, without other platforms' binaries", () => {
  const { "": _root, "node_modules/binary-elsewhere": _optional, ...installed } = wanted;
  expect(installedMatches(lockText(wanted), lockText(installed))).toBe(true);
});

test.each([
  ["nothing is installed", undefined],
  ["a package is absent", { "node_modules/@x/a": {} }],
  ["a version differs", { ...wanted, "node_modules/one": { version: "1.0.1", integrity: "sha512-one" } }],
  ["the contents differ", { ...wanted, "node_modules/one": { version: "1.0.0", integrity: "sha512-two" } }],
  ["a package is left over", { ...wanted, "node_modules/two": { version: "1.0.0" } }],
])("an installed tree does not match when %s", (_case, installed) => {
  expect(installedMatches(lockText(wanted), installed && lockText(installed))).toBe(false);
});

test("set-up is needed once, and again when the lock file changes", async () => {
  const lock = join(root, "package-lock.json");
  writeFileSync(lock, lockText(wanted));
  expect(needed(root)).toBe("install");

  mkdirSync(join(root, "node_modules"));
  writeFileSync(join(root, "node_modules", ".package-lock.json"), lockText(wanted));
  expect(needed(root)).toBe("adopt");
  await setup(root);
  expect(needed(root)).toBe("ready");

  writeFileSync(lock, lockText({ ...wanted, "node_modules/two": { version: "1.0.0" } }));
  expect(needed(root)).toBe("install");
});

test("packages installed for another platform are not kept", () => {
  writeFileSync(join(root, "package-lock.json"), lockText(wanted));
  mkdirSync(join(root, "node_modules"));
  writeFileSync(join(root, "node_modules", ".package-lock.json"), lockText(wanted));
  writeFileSync(join(root, "node_modules", ".tenet-setup"), "hash\nnode 20 elsewhere x64\n");
  expect(needed(root)).toBe("install");
});

test("concurrent set-ups take turns and leave no lock behind", async () => {
  let inside = 0;
  let most = 0;
  const work = async () => {
    inside += 1;
    most = Math.max(most, inside);
    await sleep(30);
    inside -= 1;
  };
  await Promise.all(Array.from({ length: 4 }, () => exclusively(root, work)));
  expect(most).toBe(1);
  expect(readdirSync(join(root, ".cache"))).toEqual([]);
});

test("the lock is given back when the work fails", async () => {
  await expect(exclusively(root, () => Promise.reject(new Error("no network")))).rejects.toThrow("no network");
  expect(await exclusively(root, async () => "entered")).toBe("entered");
});

test("a lock whose owner died is taken over, one whose owner lives is not", async () => {
  mkdirSync(join(root, ".cache", "setup.lock"), { recursive: true });
  writeFileSync(join(root, ".cache", "setup.lock", "dead"), "");
  expect(await exclusively(root, async () => "entered", { abandonedAfter: 200 })).toBe("entered");

  // The owner beats once a second, so that 1.5 s of silence never occur in 3 s of work.
  const order: string[] = [];
  const slow = exclusively(root, () => sleep(3_000).then(() => order.push("slow")));
  await exclusively(root, async () => order.push("quick"), { abandonedAfter: 1_500 });
  await slow;
  expect(order).toEqual(["slow", "quick"]);
});

test("npm is the one that started us, and never another package manager", () => {
  const own = { command: process.execPath, args: ["/lib/npm/bin/npm-cli.js"], shell: false };
  expect(npmCommand({ npm_execpath: "/lib/npm/bin/npm-cli.js" }, "linux")).toEqual(own);
  expect(npmCommand({ npm_execpath: "C:\\npm\\bin\\npm-cli.js" }, "win32").args).toEqual(["C:\\npm\\bin\\npm-cli.js"]);
  expect(npmCommand({ npm_execpath: "/lib/pnpm.cjs" }, "linux")).toMatchObject({ command: "npm", shell: false });
  expect(npmCommand({}, "win32")).toMatchObject({ command: "npm.cmd", shell: true });
});

/** Runs a copy of the script in `root` with a stand-in for npm, a program of one line. */
function runWith(npm: string) {
  const script = join(root, "scripts", "setup.mjs");
  mkdirSync(join(root, "scripts"), { recursive: true });
  writeFileSync(script, readFileSync(new URL("./setup.mjs", import.meta.url)));
  writeFileSync(join(root, "package-lock.json"), lockText(wanted));
  writeFileSync(join(root, "npm-cli.cjs"), npm);
  const env = {
    ...process.env,
    npm_execpath: join(root, "npm-cli.cjs"),
    npm_config_json: "true",
    NODE_ENV: "production",
  };
  return spawnSync(process.execPath, [script], { encoding: "utf8", env });
}

test("installs all that the lock file lists, once, whatever npm was told outside", () => {
  const npm = `
    const { NODE_ENV, npm_config_json, ONNXRUNTIME_NODE_INSTALL } = process.env;
    console.log(JSON.stringify([process.argv.slice(2), process.cwd(), { NODE_ENV, npm_config_json, ONNXRUNTIME_NODE_INSTALL }]));
    require("node:fs").mkdirSync("node_modules");`;
  const first = runWith(npm);
  const [args, folder, env] = JSON.parse(first.stderr.split("\n").find((line) => line.startsWith("[[")) ?? "[]");
  expect(args).toEqual(["ci", "--include=dev", "--include=optional"]);
  expect(realpathSync(folder)).toBe(realpathSync(root));
  expect(env).toEqual({ ONNXRUNTIME_NODE_INSTALL: "skip" });
  expect(first).toMatchObject({ status: 0, stdout: "" });
  expect(runWith(npm)).toMatchObject({ status: 0, stdout: "", stderr: "" });
});

test("a failing installation says so, exits with 1, writes nothing to stdout and leaves no stamp", () => {
  const { stderr, status, stdout } = runWith("process.exit(3)");
  expect(stderr).toContain("setup: npm ci failed: it ended with exit code 3");
  expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
  expect(needed(root)).toBe("install");
});
