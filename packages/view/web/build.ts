import { randomBytes } from "node:crypto";
import { renameSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "vite";

/** Bundles the page into a folder, whole or not at all. Errors: those of the bundler, with file and line. */
export async function buildPage(folder: string): Promise<void> {
  const partial = `${folder}.${randomBytes(4).toString("hex")}.partial`;
  try {
    await build({
      root: fileURLToPath(new URL(".", import.meta.url)),
      configFile: false,
      logLevel: "warn",
      base: "/",
      // Whatever the process that builds was started with.
      mode: "production",
      define: { "process.env.NODE_ENV": '"production"' },
      resolve: { conditions: ["module", "browser", "production"] },
      oxc: { jsx: { runtime: "automatic", development: false } },
      build: { outDir: partial, emptyOutDir: true, target: "es2023", modulePreload: { polyfill: false } },
    });
    rmSync(folder, { recursive: true, force: true });
    renameSync(partial, folder);
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
}
