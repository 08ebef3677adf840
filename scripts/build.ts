// Builds every package into its dist/, and puts beside it what a published package must carry.
import { copyFileSync, cpSync, existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "tsdown";

const root = fileURLToPath(new URL("..", import.meta.url));
const folders = readdirSync(join(root, "packages"))
  .map((name) => join(root, "packages", name))
  .filter((folder) => existsSync(join(folder, "package.json")) && !manifestOf(folder).private);

for (const folder of folders) {
  await build({
    cwd: folder,
    config: false,
    // A package with a command has its program beside its face.
    entry: existsSync(join(folder, "src/main.ts")) ? ["src/index.ts", "src/main.ts"] : "src/index.ts",
    format: "esm",
    platform: "node",
    target: "node20.19",
    fixedExtension: false,
    dts: { sourcemap: false },
    sourcemap: true,
    tsconfig: join(root, "tsconfig.json"),
    logLevel: "warn",
    failOnWarn: true,
    checks: { pluginTimings: false }, // a slow machine is no fault of the package
  });
  for (const file of ["LICENSE", "NOTICE"]) copyFileSync(join(root, file), join(folder, file));
  // What `tenet init` makes projects of.
  if (!manifestOf(folder).files.includes("presets")) continue;
  rmSync(join(folder, "presets"), { recursive: true, force: true });
  for (const name of ["constitutions", "demonstrations", "prompts", "recipes"])
    cpSync(join(root, name), join(folder, "presets", name), { recursive: true });
}

// The dashboard's page, for browsers. It is bundled by itself and no part of a package's face.
const { buildPage } = await import(pathToFileURL(join(root, "packages/view/web/build.ts")).href);
await buildPage(join(root, "packages/view/dist/web"));

// This process may run with the condition "source"; dist is imported by its path, as a package's default export points to it.
for (const folder of folders) {
  const manifest = manifestOf(folder);
  await import(pathToFileURL(join(folder, manifest.exports["."].default)).href);
  if (!existsSync(join(folder, manifest.exports["."].types))) throw new Error(`${manifest.name}: no type declarations`);
  console.log(`built ${manifest.name}`);
}

function manifestOf(folder: string) {
  return JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
}
