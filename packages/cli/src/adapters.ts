import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { CommandUsageError } from "./errors.ts";

/** `name=folder` as folders by name, in their order. Errors: UsageError for what is no such thing. */
export function adaptersOf(given: readonly string[]): Record<string, string> {
  const adapters: Record<string, string> = {};
  for (const text of given) {
    const at = text.indexOf("=");
    const [name, folder] = [text.slice(0, at), resolve(text.slice(at + 1))];
    if (at < 0 || !/^[A-Za-z0-9][\w.-]{0,39}$/.test(name))
      throw new CommandUsageError(
        `--adapter ${text}: expected name=folder, e.g. mine=out/adapter; a name has letters, digits, dots, dashes and underscores`,
      );
    if (name === "base" || Object.hasOwn(adapters, name))
      throw new CommandUsageError(
        `--adapter ${text}: the name "${name}" is ${name === "base" ? "that of the model itself" : "given twice"}`,
      );
    if (!existsSync(join(folder, "adapter_config.json")))
      throw new CommandUsageError(
        `--adapter ${text}: ${folder} holds no adapter_config.json: it is no adapter's folder`,
      );
    adapters[name] = folder;
  }
  return adapters;
}
