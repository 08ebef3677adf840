import { readFileSync } from "node:fs";

const page = readFileSync(new URL("../../../docs/arrangements.md", import.meta.url), "utf8");

/** The metrics that docs/arrangements.md lists. */
export const documentedMetrics: ReadonlySet<string> = new Set(
  [...page.slice(page.indexOf("## Metrics")).matchAll(/^\| `([^`]+)` \|/gm)].map(([, name]) => name!),
);
