// Made store.db.gz and artifacts.json.gz, once, with the last version of this repository that had one arrangement, which was code:
//   node --conditions=source --import tsx packages/align/test/old-store/make.ts
// With a later version it makes a store of that one.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { openStore } from "@tenet/runs";
import { runWhole } from "../pipeline/run.ts";
import { oldRecipes, writeOldRecipe } from "./recipes.ts";

const folder = mkdtempSync(join(tmpdir(), "tenet-old-"));
const place = join(folder, "store");
// A scorecard names its recipe as it was called.
process.chdir(folder);
for (const name of Object.keys(oldRecipes)) await runWhole(await writeOldRecipe(name, name), place);
const store = openStore(place);
// Folds the log into the file.
await store.collect();
store.close();
// Another folder of the same length is named in it, so that the file's pages stay where they are.
const bytes = readFileSync(join(place, "store.db"), "latin1");
const unnamed = bytes.replaceAll(folder, "/recipes".padEnd(folder.length, "-"));
const artifacts: Record<string, Record<string, string>> = {};
for (const hash of readdirSync(join(place, "artifacts"))) {
  const files = readdirSync(join(place, "artifacts", hash));
  artifacts[hash] = Object.fromEntries(
    files.map((file) => [file, readFileSync(join(place, "artifacts", hash, file)).toString("base64")]),
  );
}
for (const [name, bytes] of [
  ["store.db", Buffer.from(unnamed, "latin1")],
  ["artifacts.json", Buffer.from(JSON.stringify(artifacts))],
] as const)
  writeFileSync(new URL(`${name}.gz`, import.meta.url), gzipSync(bytes, { level: 9 }));
rmSync(folder, { recursive: true });
