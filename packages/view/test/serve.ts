// A store of invented runs in a new folder, served: `serve.ts` prints its address, and ends with the process. For looking at the
// page, for its tests in a browser, and for the pictures of docs/view.md.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openStore } from "@tenet/runs";
import { startView, type View } from "../src/index.ts";
import { type StoreOptions, type WrittenStore, writeStore } from "./store.ts";

/** Those of the repository: what is asked of them reads them and starts nothing that does. */
const recipes = fileURLToPath(new URL("../../../recipes", import.meta.url));

export interface ServedStore {
  readonly view: View;
  readonly written: WrittenStore;
  close(): Promise<void>;
}

export async function serveStore(options: StoreOptions = {}): Promise<ServedStore> {
  const place = mkdtempSync(join(tmpdir(), "tenet-page-"));
  // The page shows the last two names, and so do its pictures.
  const folder = join(place, "clinic", "runs");
  const written = writeStore(folder, options);
  // Another connection than the runs', as where they are other processes.
  const store = openStore(folder);
  const view = await startView({
    store,
    port: 0,
    version: "0.0.0",
    tell: console.error,
    launch: { command: [process.execPath, "-e", "console.log(process.argv.slice(1))"], project: recipes },
  });
  return {
    view,
    written,
    async close() {
      await view.close();
      store.close();
      written.store.close();
      rmSync(place, { recursive: true, force: true });
    },
  };
}

if (process.argv[1]?.endsWith("serve.ts")) {
  const { view } = await serveStore({ prompts: 60 });
  console.log(view.url);
}
