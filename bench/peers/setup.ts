import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const MINIMUM = [3, 11] as const;
const folder = fileURLToPath(new URL(".venv", import.meta.url));
const requirements = fileURLToPath(new URL("requirements.txt", import.meta.url));
const finished = fileURLToPath(new URL(".venv/finished.txt", import.meta.url));

const installHint =
  "llama-cpp-python is compiled: on Debian and Ubuntu `apt install build-essential` provides what it needs. Run the bench again to retry.";

/** No Python to make the peers' environment with. */
export class PythonMissingError extends Error {}

/** The interpreter of the peers' environment. */
export const python = fileURLToPath(
  new URL(process.platform === "win32" ? ".venv/Scripts/python.exe" : ".venv/bin/python", import.meta.url),
);

/**
 * Makes the peers' Python environment unless it is there already, and updates it when requirements.txt has changed.
 * Throws PythonMissingError where there is no suitable Python, Error where making it fails.
 */
export async function preparePeers(say: (message: string) => void): Promise<void> {
  const wanted = readFileSync(requirements, "utf8");
  const outdated = existsSync(finished);
  if (outdated && readFileSync(finished, "utf8") === wanted) return;
  if (outdated) {
    say("Updating the peers' Python environment in bench/peers/.venv.");
    rmSync(finished);
  } else {
    const base = findPython();
    say("Making the peers' Python environment in bench/peers/.venv, once: a download of about 3 GB on Linux.");
    rmSync(folder, { recursive: true, force: true });
    await execute(base, ["-m", "venv", folder], "On Debian and Ubuntu `apt install python3-venv` provides it.");
  }
  const quiet = ["--disable-pip-version-check", "--no-input", "--progress-bar", "off", "--quiet"];
  await execute(python, ["-m", "pip", "install", ...quiet, "-r", requirements], installHint);
  // Written last: an interrupted installation is made anew.
  writeFileSync(finished, wanted);
  say("The peers' Python environment is ready.");
}

function findPython(): string {
  const found: string[] = [];
  for (const command of ["python3", "python"]) {
    const asked = spawnSync(command, ["-c", "import sys; print(*sys.version_info[:2])"], { encoding: "utf8" });
    const [major = 0, minor = 0] = (asked.stdout ?? "").split(" ").map(Number);
    if (major === MINIMUM[0] && minor >= MINIMUM[1]) return command;
    if (major > 0) found.push(`${command} is ${major}.${minor}`);
  }
  throw new PythonMissingError(
    `The peers need Python ${MINIMUM.join(".")} or newer as python3 or python; ` +
      `${found.length > 0 ? found.join(", ") : "neither was found"}. Install one; nothing but the benchmarks needs it.`,
  );
}

/** Runs a command whose output belongs on stderr: stdout is for results. */
function execute(command: string, args: string[], hint: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["ignore", 2, 2] });
    const stop = (signal: NodeJS.Signals) => child.kill(signal);
    process.once("SIGINT", stop).once("SIGTERM", stop);
    child.once("error", reject);
    child.once("close", (code, signal) => {
      process.off("SIGINT", stop).off("SIGTERM", stop);
      if (code === 0) return resolve();
      reject(
        new Error(`\`${args.slice(0, 3).join(" ")}\` of ${command} failed (${signal ?? `exit code ${code}`}). ${hint}`),
      );
    });
  });
}
