import { existsSync } from "node:fs";
import { type Browser, chromium } from "playwright-core";

/** The Chromium that is there; undefined, and why, where there is none. */
export const executable = [process.env.TENET_CHROMIUM, "/usr/bin/chromium", "/usr/bin/google-chrome"].find(
  (path) => path !== undefined && existsSync(path),
);
export const noBrowser = "no Chromium at TENET_CHROMIUM, /usr/bin/chromium or /usr/bin/google-chrome";

/** A sandbox of its own is what root, as in containers, cannot have. What it loads is ours. */
export function launch(): Promise<Browser> {
  return chromium.launch({ executablePath: executable!, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
}
