// Made store.db.gz and store.db-wal.gz, once, with the version of this repository that had libsql 0.5.29 (SQLite 3.45.1):
//   node --conditions=source --import tsx packages/runs/test/libsql-0.5.29/make.ts
// With another SQLite it makes a store of that one.
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { Connection } from "../../src/database.ts";
import { hashOf, openStore } from "../../src/index.ts";

const folder = mkdtempSync(join(tmpdir(), "tenet-older-"));
const store = openStore(folder);
const run = store.begin({ name: "desk", recipe: { seed: 1 }, versions: { tenet: "0.0.0" } });
const stage = run.stage({ name: "replies", kind: "respond", identity: hashOf("replies") });
const item = (n: number) => ({
  key: hashOf(["item", n]),
  input: `prompt ${n}`,
  ordinal: n,
  rows: n % 10 === 9 ? [] : [{ id: `row ${n}`, text: `é ${n} – ok`, origin: { parents: [`prompt ${n}`] } }],
  ...(n % 10 === 9 ? { aside: "it says nothing" } : {}),
});
stage.append(
  Array.from({ length: 20 }, (_, n) => item(n)),
  { usage: { generator: { calls: 20, promptTokens: 400, completionTokens: 100, seconds: 1.5, dollars: 0.25 } } },
);
stage.metrics(1, { loss: 2.5, ratio: 0.1 + 0.2, none: Number.NaN });
run.event({ kind: "note", stage: "replies", message: "half" });
// Folded into the file; what follows stays in the log, as after a kill.
new Connection(folder).exec("PRAGMA wal_checkpoint(TRUNCATE)");
stage.append([item(20), item(21)], { usage: { generator: { calls: 2 } } });
store.addLabel({ pair: "row 0", p: 0.5, who: "reader" });
for (const name of ["store.db", "store.db-wal"]) {
  const packed = gzipSync(readFileSync(join(folder, name)), { level: 9 });
  writeFileSync(new URL(`${name}.gz`, import.meta.url), packed);
}
process.kill(process.pid, "SIGKILL");
