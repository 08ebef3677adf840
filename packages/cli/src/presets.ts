import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Policies that projects can begin with, and where their files lie in the folder of presets. */
export const presetFiles = {
  "clinical-desk": {
    constitution: "clinical-desk.yaml",
    prompts: "clinical",
    about: "a desk that answers questions about health",
  },
  "company-policy": {
    constitution: "company-policy.yaml",
    prompts: "company",
    about: "a company's assistant: no personal data, sources named",
  },
  "content-rules": {
    constitution: "content-rules.md",
    prompts: "content",
    about: "what may be published on a community site",
  },
  "support-levels": {
    constitution: "support-levels.yaml",
    prompts: "company",
    about: "principles that say who may override them: nobody, a product, the person",
  },
  collective: {
    constitution: "collective.yaml",
    prompts: "harmless",
    about: "the form of what many agree on: weights and provenance from votes",
  },
  harmless: { constitution: "harmless.yaml", prompts: "harmless", about: "helpful without doing harm" },
} as const;

export type Preset = keyof typeof presetFiles;
/** The first is the default. */
export const presets = Object.keys(presetFiles) as Preset[];

/** The folder of constitutions/, prompts/, demonstrations/ and recipes/: the package's own, or in its workspace the originals. */
export function presetsFolder(): string {
  const own = fileURLToPath(new URL("..", import.meta.url));
  const workspace = join(own, "..", "..");
  const manifest = join(workspace, "package.json");
  const isOurs = existsSync(manifest) && JSON.parse(readFileSync(manifest, "utf8")).name === "tenet-workspace";
  return isOurs ? workspace : join(own, "presets");
}
