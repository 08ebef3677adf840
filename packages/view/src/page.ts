import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { reportTokens } from "@tenet/align";

/** The page's files by their path: read once, so that no request names a file. */
export type PageFiles = ReadonlyMap<string, { readonly bytes: Uint8Array<ArrayBuffer>; readonly type: string }>;

const types: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
};

const here = fileURLToPath(new URL("..", import.meta.url));
/** Where the sources of the page lie, in the workspace. */
const sources = join(here, "web");

/** Reads a built page from its folder. */
export function readPage(folder: string): PageFiles {
  const files = new Map<string, { bytes: Uint8Array<ArrayBuffer>; type: string }>();
  const walk = (below: string) => {
    for (const entry of readdirSync(join(folder, below), { withFileTypes: true })) {
      const path = `${below}/${entry.name}`;
      if (entry.isDirectory()) walk(path);
      const type = types[extname(entry.name)];
      if (entry.isFile() && type) files.set(path, { bytes: new Uint8Array(readFileSync(join(folder, path))), type });
    }
  };
  walk("");
  files.set("/tokens.css", { bytes: new Uint8Array(Buffer.from(themed(reportTokens))), type: types[".css"]! });
  return files;
}

/** Colours as the system has it, and as somebody chose: the same two blocks, for the theme that the page names. */
export function themed(tokens: string): string {
  const [light, dark] = [...tokens.matchAll(/:root \{([^}]*)\}/g)].map(([, block]) => block!);
  const without = (block: string) => block.replace(/color-scheme: [^;]*;/, "");
  return `${tokens}
:root[data-theme="light"] { color-scheme: light; ${without(light!)} }
:root[data-theme="dark"] { color-scheme: dark; ${without(dark!)} }
`;
}

/**
 * The folder of the built page: the one that the package brings, or, in a workspace, one that is built of the sources as they
 * stand, once, and kept beside them. `tell` hears that it is built, which takes seconds.
 */
export async function builtPage(tell: (message: string) => void): Promise<string> {
  const shipped = join(here, "dist", "web");
  if (!existsSync(sources)) return shipped;
  const folder = join(here, "..", "..", ".cache", "view", hashOfSources());
  if (existsSync(join(folder, "index.html"))) return folder;
  tell("building the page, once …");
  // A computed name: what builds the page is no part of the package.
  const builder = new URL("../web/build.ts", import.meta.url).href;
  const { buildPage } = (await import(builder)) as { buildPage: (folder: string) => Promise<void> };
  await buildPage(folder);
  return folder;
}

function hashOfSources(): string {
  const hash = createHash("sha256");
  const walk = (folder: string) => {
    for (const name of readdirSync(folder).sort()) {
      const path = join(folder, name);
      if (statSync(path).isDirectory()) walk(path);
      else hash.update(path.slice(here.length)).update(readFileSync(path));
    }
  };
  walk(sources);
  // What both sides read, and the page is built of.
  walk(join(here, "src", "api"));
  hash.update(readFileSync(join(here, "src", "api.ts")));
  return hash.digest("hex").slice(0, 16);
}
