// Installs the packages as a registry would give them, into a folder outside the workspace, and uses them there as a newcomer does: a
// run, a chat, the dashboard. Needs dist/ (npm run build) and no network: the packages that ours name as their dependencies, and no
// others, are taken from the workspace's node_modules. Ends with 1 where something that should be there is not.
//
//   npx tsx --conditions=source scripts/installed.ts [--node <program>]…
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, linkSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { supervisedRecipe, writeRecipe } from "../packages/align/test/pipeline/fixture.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const { node: given = [] } = parseArgs({ options: { node: { type: "string", multiple: true } } }).values;
const folder = mkdtempSync(join(tmpdir(), "tenet-installed-"));
const modules = join(folder, "node_modules");

interface Manifest {
  readonly name: string;
  readonly private?: boolean;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly bin?: Readonly<Record<string, string>>;
}
const manifestIn = (place: string) => JSON.parse(readFileSync(join(place, "package.json"), "utf8")) as Manifest;

function expect(holds: boolean, what: string): void {
  if (!holds) throw new Error(`expected ${what}`);
  process.stdout.write(`  ${what}\n`);
}

/** What npm would publish of our packages, unpacked where npm would put it. */
function installOurs(): string[] {
  const ours = readdirSync(join(root, "packages"))
    .map((name) => join(root, "packages", name))
    .filter((place) => existsSync(join(place, "package.json")) && !manifestIn(place).private);
  const packed = spawnSync("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder, ...ours], {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, npm_config_offline: "true" },
  });
  if (packed.status !== 0) throw new Error(`npm pack ended with ${packed.status}\n${packed.stderr}`);
  const archives = JSON.parse(packed.stdout) as { name: string; filename: string; files: { path: string }[] }[];
  for (const { name, filename, files } of archives) {
    const tests = files.filter(({ path }) => /\.test\.|\.golden\./.test(path));
    if (tests.length > 0) throw new Error(`${name} would publish ${tests[0]!.path}`);
    const place = join(modules, name);
    mkdirSync(place, { recursive: true });
    // Names with a scope have a dash where npm writes the archive.
    const archive = join(folder, filename.replace("@", "").replace("/", "-"));
    const unpacked = spawnSync("tar", ["-xzf", archive, "-C", place, "--strip-components=1"], { encoding: "utf8" });
    if (unpacked.status !== 0) throw new Error(`tar ended with ${unpacked.status}\n${unpacked.stderr}`);
    rmSync(archive);
  }
  return archives.map(({ name }) => name);
}

/** What packages name as their dependencies, theirs, and so on; what nobody names is not there. */
function installOthers(ours: readonly string[]): number {
  const wanted = ours.map((name) => ({ name, from: join(modules, name), to: join(modules, name) }));
  const there = new Set(wanted.map(({ to }) => to));
  for (let next = wanted.pop(); next; next = wanted.pop()) {
    const { dependencies = {}, optionalDependencies = {} } = manifestIn(next.from);
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
      if (ours.includes(name)) continue;
      const from = placeOf(name, next.from);
      // Of optional ones those of other systems are nowhere.
      if (!from && name in optionalDependencies) continue;
      if (!from) throw new Error(`${next.name} needs ${name}, which is not in the workspace's node_modules`);
      const to = join(modules, from.slice(join(root, "node_modules").length));
      if (there.has(to)) continue;
      there.add(to);
      linkTree(from, to);
      wanted.push({ name, from, to });
    }
  }
  return there.size - ours.length;
}

/** Where Node would find a package from a folder; ours look as if they lay in the workspace. */
function placeOf(name: string, from: string): string | undefined {
  for (
    let at = from.startsWith(modules) ? join(root, "packages/x") : from;
    at.startsWith(dirname(root));
    at = dirname(at)
  ) {
    const place = join(at, "node_modules", name);
    if (existsSync(join(place, "package.json"))) return place;
  }
  return undefined;
}

/** A folder without the packages that lie in it, its files being the same ones where the file system can do that. */
function linkTree(from: string, to: string): void {
  mkdirSync(to, { recursive: true });
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const [own, copy] = [join(from, entry.name), join(to, entry.name)];
    if (entry.name === "node_modules") continue;
    if (entry.isDirectory()) linkTree(own, copy);
    else if (entry.isFile())
      try {
        linkSync(own, copy);
      } catch {
        cpSync(own, copy);
      }
  }
}

async function use(node: string): Promise<void> {
  const version = spawnSync(node, ["--version"], { encoding: "utf8" }).stdout.trim();
  process.stdout.write(`Node ${version}\n`);
  const place = join(folder, `on-${version}`);
  mkdirSync(place);
  const program = join(modules, "tenet", manifestIn(join(modules, "tenet")).bin!.tenet!);
  const { NODE_OPTIONS: _, ...rest } = process.env;
  const environment = {
    ...rest,
    TENET_STORE: join(place, "runs"),
    TENET_CACHE: join(place, "cache"),
    TENET_OFFLINE: "1",
  };
  const tenet = (...args: string[]) => {
    const { status, stdout, stderr, error } = spawnSync(node, [program, ...args], {
      cwd: place,
      encoding: "utf8",
      timeout: 600_000,
      env: environment,
    });
    if (status !== 0) throw new Error(`tenet ${args.join(" ")} ended with ${status ?? error}\n${stdout}\n${stderr}`);
    return stdout;
  };
  expect(tenet("--help").includes("Begin:"), "help");
  tenet("init", "desk");
  expect(
    tenet("validate", "desk/constitution.yaml").includes("is in order"),
    "a project made from what the package brings",
  );
  const recipe = await writeRecipe(place, { recipe: supervisedRecipe });
  tenet("run", recipe, "--limit", "3", "--device", "cpu", "--quiet");
  expect(tenet("ls").includes("done"), "a run to its end");
  expect(tenet("chat", "--run", "latest", "--device", "cpu", "--max-tokens", "4", "Say a word.") !== "", "a reply");
  await look(node, program, { cwd: place, env: environment });
}

/** The dashboard with the page that the package brings, as a browser would ask for it. */
async function look(node: string, program: string, options: { cwd: string; env: NodeJS.ProcessEnv }): Promise<void> {
  const begun = performance.now();
  const view = spawn(node, [program, "view", "--port", "0", "--json"], {
    ...options,
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    const [line] = (await once(createInterface({ input: view.stdout }), "line")) as [string];
    const { url } = JSON.parse(line) as { url: string };
    const page = await (await fetch(new URL("/runs", new URL(url).origin))).text();
    const milliseconds = performance.now() - begun;
    const script = /<script[^>]* src="([^"]+)"/.exec(page)?.[1] ?? "";
    const loaded = await fetch(new URL(script, url));
    expect(
      loaded.ok && (await loaded.text()).length > 50_000,
      `the page, ${Math.round(milliseconds)} ms after its start`,
    );
    const { runs } = (await (await fetch(new URL("/api/runs", url))).json()) as { runs: { status: string }[] };
    expect(runs.length === 1 && runs[0]!.status === "done", "and the run in it");
  } finally {
    view.kill("SIGINT");
    await once(view, "exit");
  }
}

try {
  const ours = installOurs();
  const others = installOthers(ours);
  process.stdout.write(`${ours.length} packages of ours and the ${others} that they need, in ${folder}\n`);
  for (const node of [process.execPath, ...given]) await use(node);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
