// Installs the dependencies when they are missing or older than package-lock.json, and does nothing otherwise.
// Plain JavaScript without dependencies, since it runs before there are any.
// Prints to stderr only: the stdout of `npm run bench -- NAME --json` belongs to the benchmark.
import { spawn } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

export const minimumNode = [20, 19];
const heartbeat = 1_000;
const abandonedAfter = 20_000;

/** @param {string} path */
function readIfThere(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/**
 * Whether what npm wrote down about node_modules is what the lock file asks for, as after `npm install` or a `npm ci`
 * by hand. Optional packages may be absent: they are the binaries of other platforms.
 *
 * @param {string} lockText
 * @param {string | undefined} installedText node_modules/.package-lock.json
 */
export function installedMatches(lockText, installedText) {
  if (installedText === undefined) return false;
  const wanted = JSON.parse(lockText).packages;
  const installed = JSON.parse(installedText).packages;
  const places = Object.keys(wanted).filter((place) => place.includes("node_modules/"));
  return (
    places.every((place) => (installed[place] ? same(installed[place], wanted[place]) : skippable(wanted[place]))) &&
    Object.keys(installed).every((place) => place in wanted)
  );
}

/** @param {{ version?: string, integrity?: string }} a @param {{ version?: string, integrity?: string }} b */
const same = (a, b) => a.version === b.version && a.integrity === b.integrity;

/** @param {{ optional?: boolean }} entry */
const skippable = (entry) => entry.optional === true;

/**
 * "ready": nothing to do. "adopt": the right packages are there, only our stamp is missing. "install": run npm ci.
 *
 * @param {string} root
 * @returns {"ready" | "adopt" | "install"}
 */
export function needed(root) {
  const lock = readFileSync(join(root, "package-lock.json"), "utf8");
  const stamp = readIfThere(stampPath(root));
  if (stamp === stampFor(lock)) return "ready";
  const sameMachine = stamp === undefined || stamp.split("\n")[1] === machine();
  const installed = readIfThere(join(root, "node_modules", ".package-lock.json"));
  return sameMachine && installedMatches(lock, installed) ? "adopt" : "install";
}

/** @param {string} root */
const stampPath = (root) => join(root, "node_modules", ".tenet-setup");

const machine = () => `node ${process.versions.node.split(".")[0]} ${process.platform} ${process.arch}`;

/** @param {string} lock */
const stampFor = (lock) => `${createHash("sha256").update(lock).digest("hex")}\n${machine()}\n`;

/**
 * Runs `work` while no other process that shares `root` does the same.
 *
 * The lock is a folder holding one file named for its owner. Renaming a full folder onto another full one fails on every
 * platform, so only one process gets in. The owner rewrites its file; one that stays the same was left by a process that
 * died. Whoever clears it removes that owner's file by name, and thus never a newer owner's.
 *
 * @template T
 * @param {string} root
 * @param {() => Promise<T>} work
 * @param {{ abandonedAfter?: number, onWait?: () => void }} [options] abandonedAfter in milliseconds
 * @returns {Promise<T>}
 */
export async function exclusively(root, work, options = {}) {
  const cache = join(root, ".cache");
  const lock = join(cache, "setup.lock");
  const owner = randomUUID();
  const mine = join(cache, `setup.${owner}`);
  const beat = join(lock, owner);
  mkdirSync(mine, { recursive: true });
  writeFileSync(join(mine, owner), "");
  let waited = false;
  /** What the lock's owner last showed of itself, and when we saw it change: by our clock, whatever the disk's says. */
  let seen = { state: "", at: Date.now() };
  for (;;) {
    try {
      renameSync(mine, lock);
      break;
    } catch (error) {
      if (!isHeld(error)) {
        rmSync(mine, { recursive: true, force: true });
        throw error;
      }
    }
    if (!waited) options.onWait?.();
    waited = true;
    const held = readLock(lock);
    if (held.state !== seen.state) seen = { state: held.state, at: Date.now() };
    else if (Date.now() - seen.at > (options.abandonedAfter ?? abandonedAfter)) {
      if (held.owner) rmSync(join(lock, held.owner), { force: true });
      try {
        rmdirSync(lock);
      } catch {
        // Another process was quicker: it cleared the lock, or holds it by now.
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const timer = setInterval(() => {
    try {
      writeFileSync(beat, new Date().toISOString(), { flag: "r+" }); // r+: never makes the file again
    } catch {
      // The lock was taken from us, as after a long sleep of the machine. npm ci goes on; the other process repeats it.
    }
  }, heartbeat);
  try {
    return await work();
  } finally {
    clearInterval(timer);
    rmSync(beat, { force: true });
    try {
      rmdirSync(lock);
    } catch {
      // Taken over by another owner.
    }
  }
}

/** @param {unknown} error */
function isHeld(error) {
  const code = /** @type {NodeJS.ErrnoException} */ (error).code;
  const here = process.platform === "win32" ? ["EPERM", "EACCES", "EBUSY", "EEXIST"] : ["ENOTEMPTY", "EEXIST"];
  return code !== undefined && here.includes(code);
}

/** @param {string} lock */
function readLock(lock) {
  try {
    const owner = readdirSync(lock)[0];
    return { owner, state: owner ? `${owner} ${readFileSync(join(lock, owner), "utf8")}` : "empty" };
  } catch {
    return { owner: undefined, state: "gone" };
  }
}

/**
 * The program and arguments that run npm: the one that started us where there is one, else the one on the path.
 *
 * @param {NodeJS.ProcessEnv} env
 * @param {NodeJS.Platform} platform
 */
export function npmCommand(env, platform) {
  const started = env.npm_execpath;
  if (started && /^npm(-cli)?\.c?js$/.test(basename(started.replaceAll("\\", "/")))) {
    return { command: process.execPath, args: [started], shell: false };
  }
  // Node starts .cmd files only through a shell.
  return platform === "win32"
    ? { command: "npm.cmd", args: [], shell: true }
    : { command: "npm", args: [], shell: false };
}

/** @param {string} root */
async function install(root) {
  const { command, args, shell } = npmCommand(process.env, process.platform);
  // Settings given to the outer npm (`npm test --json`, NODE_ENV=production) must not change what is installed.
  const env = Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !/^npm_config_(json|workspaces?|omit|include|only|production|dry_run)$/i.test(name),
    ),
  );
  env.ONNXRUNTIME_NODE_INSTALL = "skip";
  delete env.NODE_ENV;
  const child = spawn(command, [...args, "ci", "--include=dev", "--include=optional"], {
    cwd: root,
    env,
    shell,
    stdio: ["ignore", 2, 2],
  });
  /** @param {NodeJS.Signals} signal */
  const pass = (signal) => child.kill(signal);
  process.on("SIGINT", pass).on("SIGTERM", pass);
  const failure = await new Promise((resolve) => {
    child.on("error", (error) => resolve(error.message));
    child.on("close", (code, signal) =>
      resolve(code === 0 ? undefined : `it ended with ${signal ?? `exit code ${code}`}`),
    );
  });
  process.off("SIGINT", pass).off("SIGTERM", pass);
  if (failure) throw new Error(`npm ci failed: ${failure}. Its own message is above; run \`npm ci\` to see it again.`);
}

/** @param {string} root */
export async function setup(root) {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const [wantedMajor = 0, wantedMinor = 0] = minimumNode;
  if (major < wantedMajor || (major === wantedMajor && minor < wantedMinor)) {
    throw new Error(`Tenet needs Node ${minimumNode.join(".")} or newer; this is Node ${process.versions.node}.`);
  }
  if (needed(root) === "ready") return;
  const onWait = () => console.error("setup: another set-up is under way in this folder; waiting for it.");
  await exclusively(
    root,
    async () => {
      const need = needed(root); // Whoever we waited for may have done it.
      if (need === "ready") return;
      if (need === "install") {
        console.error("setup: installing dependencies (npm ci) …");
        const start = performance.now();
        await install(root);
        console.error(`setup: done in ${((performance.now() - start) / 1000).toFixed(1)} s.`);
      }
      writeFileSync(stampPath(root), stampFor(readFileSync(join(root, "package-lock.json"), "utf8")));
    },
    { onWait },
  );
}

if (process.argv[1] && import.meta.url === pathToFileURL(realpathSync(process.argv[1])).href) {
  try {
    await setup(fileURLToPath(new URL("..", import.meta.url)));
  } catch (error) {
    console.error(`setup: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
}
