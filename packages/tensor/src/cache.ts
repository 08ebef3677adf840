import { homedir } from "node:os";
import { join, resolve } from "node:path";

/**
 * The folder in which downloads are kept: TENET_CACHE, or the platform's place for caches.
 *
 * Linux `$XDG_CACHE_HOME/tenet` or `~/.cache/tenet`, macOS `~/Library/Caches/tenet`, Windows `%LOCALAPPDATA%\tenet\Cache`.
 */
export function cacheFolder(
  environment: Record<string, string | undefined> = process.env,
  platform: NodeJS.Platform = process.platform,
): string {
  if (environment.TENET_CACHE) return resolve(environment.TENET_CACHE);
  if (platform === "darwin") return join(homedir(), "Library", "Caches", "tenet");
  if (platform === "win32")
    return join(environment.LOCALAPPDATA ?? join(homedir(), "AppData", "Local"), "tenet", "Cache");
  return join(environment.XDG_CACHE_HOME || join(homedir(), ".cache"), "tenet");
}
