import { spawnSync } from "node:child_process";
import { enginePython } from "../src/environment.ts";

/** What `unshare` is told, before a command: a network and processes of its own, so that nobody reaches the cluster in it and all of it ends with the command. */
export const apart = [
  ...["--net", "--pid", "--fork", "--kill-child", "--mount-proc"],
  ...["sh", "-c", 'ip link set lo up && exec "$@"', "sh"],
];

/** Python to test a real Ray with, or why not. */
export function rayPython(): { readonly python: string } | { readonly missing: string } {
  if (process.env.TENET_ENGINE_RAY !== "1")
    return { missing: "it takes minutes and 4 GB; npm run test:engine runs it" };
  const found = enginePython();
  if ("missing" in found) return found;
  if (spawnSync("unshare", [...apart, "true"]).status !== 0)
    return {
      missing:
        "unshare does not work here: a cluster listens at every address of its machine, so that one of its own is needed",
    };
  const { status } = spawnSync(found.python, ["-c", "import importlib.util as u; exit(u.find_spec('ray') is None)"]);
  return status === 0 ? found : { missing: `${found.python} has no Ray` };
}
