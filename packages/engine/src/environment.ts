import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { programFolder } from "./launch.ts";

const requirements = join(programFolder, "requirements.txt");

/** Where `environment.sh` makes the Python environment of engines on this machine: named by its requirements, so that others make another. */
export function environmentFolder(): string {
  const hash = createHash("sha256").update(readFileSync(requirements)).digest("hex").slice(0, 12);
  return join(homedir(), ".cache", "tenet", `engine-${hash}`);
}

/** Python with what the engine needs, or why there is none. `TENET_ENGINE_PYTHON` names another. */
export function enginePython(
  variables: Readonly<Record<string, string | undefined>> = process.env,
): { readonly python: string } | { readonly missing: string } {
  const python = variables.TENET_ENGINE_PYTHON ?? join(environmentFolder(), "bin", "python");
  const script = join(programFolder, "environment.sh");
  if (!existsSync(python))
    return { missing: `${python} is not there; bash ${script} makes it (2 GB, 5.5 GB where there is a GPU)` };
  const needed = "import importlib.util as u, sys; sys.exit(any(u.find_spec(n) is None for n in sys.argv[1:]))";
  const { status } = spawnSync(python, ["-c", needed, "torch", "transformers", "peft", "safetensors", "jsonschema"]);
  return status === 0 ? { python } : { missing: `${python} lacks what ${requirements} names` };
}
