import { createHash } from "node:crypto";
import { createReadStream, type Dirent } from "node:fs";
import { lstat, mkdir, open, readdir, readFile, writeFile } from "node:fs/promises";
import { basename, join, relative, sep } from "node:path";
import { ExportError } from "@tenet/data";
import { canonicalJson, type StageInfo, type Store } from "@tenet/runs";
import { parseScorecard, type Scorecard } from "../evaluate/index.ts";
import { billOfMaterials } from "./bill-of-materials.ts";
import { openedOf, type StoredCheckpoint } from "./checkpoints.ts";
import type { ExportBase } from "./export-base.ts";
import { labelsBy } from "./learnt-from.ts";

/** The list of a pack's files and their hashes, as `sha256sum --check` reads it. */
export const MANIFEST = "SHA256SUMS";

export interface EvidenceOptions {
  readonly checkpoints: readonly StoredCheckpoint[];
  readonly base: ExportBase;
  /** The base's, where it is known. */
  readonly licence?: string;
}

/**
 * Writes what a run's figures rest on into a new folder: `scorecard.json`, `recipe.json`, `constitution.json`, `stages.json` (every stage with
 * identity, settings, hashes, what it spent), `figures.json` (each figure of the scorecard and the files of rows that it was counted
 * from), `labels.json` (who preferred), `rows/<stage>.jsonl` (whose SHA-256 is the hash of the dataset in the store, and whose rows name
 * their parents), `bom.cdx.json` (CycloneDX 1.6) and the manifest.
 *
 * Gives the manifest's own SHA-256: whoever keeps it can tell that the manifest was not changed either.
 */
export async function writeEvidence(
  store: Store,
  run: string,
  folder: string,
  options: EvidenceOptions,
): Promise<string> {
  const info = store.run(run);
  const stages = store.stages(run).filter(({ status }) => status === "done");
  const { constitutionHash, ...recipe } = info.recipe as Record<string, unknown>;
  const opened = await openedOf(store, run);
  const output = store.stage(run, "scorecard")?.output;
  const scorecard = output === undefined ? undefined : parseScorecard(JSON.stringify(output));
  const files = new Map<string, string>();
  const filled = stages.filter(({ rows }) => rows > 0);
  await mkdir(filled.length > 0 ? join(folder, "rows") : folder, { recursive: true });
  for (const stage of filled) {
    const path = `rows/${fileName(stage.name)}.jsonl`;
    files.set(stage.name, path);
    await writeRows(store, stage, join(folder, path));
  }
  const json = (name: string, value: unknown) =>
    writeFile(join(folder, name), `${JSON.stringify(value, null, 2)}\n`, { flag: "wx" });
  await json("run.json", {
    ...{ run, name: info.name, begun: info.created, ended: info.updated, status: info.status, versions: info.versions },
    ...(typeof constitutionHash === "string" && { constitutionHash }),
    ...("seed" in recipe && { seed: recipe.seed }),
    checkpoints: options.checkpoints.map(({ id, label }) => ({ id, label })),
  });
  await json("recipe.json", recipe);
  if (opened?.constitution !== undefined) await json("constitution.json", opened.constitution);
  if (output !== undefined) await json("scorecard.json", withoutPaths(output));
  const usage = store.usage(run);
  await json(
    "stages.json",
    stages.map(({ name, kind, identity, settings, seconds, rows, items, aside, dataset, artifacts, output: made }) => ({
      ...{ name, kind, identity, settings, seconds, rows, inputs: items, setAside: aside },
      ...(files.has(name) && { file: files.get(name), dataset: dataset!.hash }),
      ...(artifacts.length > 0 && { artifacts }),
      ...(name !== "scorecard" && made !== undefined && { output: made }),
      usage: usage.filter(({ stage }) => stage === name).map(({ stage: _, ...spent }) => spent),
    })),
  );
  if (scorecard) await json("figures.json", figures(scorecard, stages, files));
  const labels = labelsBy(store, run);
  if (labels) await json("labels.json", { pairs: labels });
  await json("bom.cdx.json", billOfMaterials({ info, stages, scorecard, files, ...options }));
  await writeFile(join(folder, "README.md"), readme(info.name, run), { flag: "wx" });
  const manifest = await manifestOf(folder);
  await writeFile(join(folder, MANIFEST), manifest, { flag: "wx" });
  return sha256(manifest);
}

/** The scorecard as the store has it, with the recipe called by its name alone in the command that made it. */
function withoutPaths(output: unknown): unknown {
  const named = (key: string, value: unknown) => {
    const [, verb, file] = /^(tenet \w+ )(.+)$/.exec(key === "command" ? String(value) : "") ?? [];
    return file === undefined ? value : `${verb}${basename(file)}`;
  };
  return JSON.parse(JSON.stringify(output, named));
}

const fileName = (stage: string) => stage.replaceAll(/[^\w.-]+/g, "-");
const sha256 = (content: string | Buffer) => createHash("sha256").update(content).digest("hex");

/** Rows as the store hashes them: lines of canonical JSON. */
async function writeRows(store: Store, { identity, name, dataset }: StageInfo, path: string): Promise<void> {
  const hash = createHash("sha256");
  const handle = await open(path, "wx");
  try {
    for (const row of store.rows(identity)) {
      const line = `${canonicalJson(row)}\n`;
      hash.update(line);
      await handle.write(line);
    }
  } finally {
    await handle.close();
  }
  if (dataset !== undefined && hash.digest("hex") !== dataset.hash)
    throw new ExportError(`the rows of stage ${name} are not those that it made: run tenet verify`);
}

/** Each figure, and where the rows lie that it was counted from. */
function figures({ rows }: Scorecard, stages: readonly StageInfo[], files: ReadonlyMap<string, string>): object[] {
  return rows.map(({ checkpoint, metric, value, interval, n }) => {
    const own = stages.filter(({ name }) => files.has(name) && countsFor(name, checkpoint));
    return {
      ...{ checkpoint, metric, value, interval, n },
      from: own.map(({ name, identity, dataset }) => {
        return { stage: name, identity, file: files.get(name), dataset: dataset!.hash };
      }),
    };
  });
}

/** Stages that hold the replies of what is compared without training. */
const baselineAnswers: Readonly<Record<string, string>> = {
  "with-constitution": "answers of base with constitution",
  "with-demonstrations": "answers of base with demonstrations",
  "constant-reply": "answers of a constant",
};

/** Whether a stage's rows are the prompts, a checkpoint's answers to them, or what was said of these. */
function countsFor(stage: string, checkpoint: string): boolean {
  const answers = baselineAnswers[checkpoint] ?? `answers of ${checkpoint}`;
  if (["held-out", answers, `rating of ${checkpoint}`].includes(stage) || stage.startsWith(`${answers} under `))
    return true;
  const [, a, b] = /^(?:answers of )?(\S+) (?:and|against) (\S+)$/.exec(stage) ?? [];
  return a === checkpoint || b === checkpoint;
}

function readme(name: string, run: string): string {
  return `# Evidence for ${name}

What the figures of the run ${run} rest on. \`figures.json\` names, for each figure of \`scorecard.json\`, the files of rows it was counted
from; each row names the rows it was made from (\`origin.parents\`), down to the prompts. The SHA-256 of a file of rows is the hash of its dataset in
\`stages.json\`. \`bom.cdx.json\` lists models, data and programs (CycloneDX 1.6).

    tenet verify <this folder>         # or: sha256sum --check ${MANIFEST}

Rows hold texts that models wrote and data that the recipe names: look at them before you publish them.
`;
}

/** A line for each file below a folder but the manifest itself, sorted by path. */
async function manifestOf(folder: string): Promise<string> {
  const lines: string[] = [];
  for (const path of (await below(folder)).files)
    if (path !== MANIFEST) lines.push(`${await hashOfFile(join(folder, path))}  ${path}\n`);
  return lines.join("");
}

/** Files below a folder, and folders without anything in them, of which a manifest says nothing and a pack has none; each sorted by path. */
async function below(folder: string): Promise<{ readonly files: string[]; readonly empty: string[] }> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const holding = new Set(entries.map(({ parentPath }) => parentPath));
  const place = (entry: Dirent) => join(entry.parentPath, entry.name);
  const paths = (some: readonly Dirent[]) =>
    some.map((entry) => relative(folder, place(entry)).split(sep).join("/")).sort();
  return {
    files: paths(entries.filter((entry) => !entry.isDirectory())),
    empty: paths(entries.filter((entry) => entry.isDirectory() && !holding.has(place(entry)))),
  };
}

async function hashOfFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const piece of createReadStream(path)) hash.update(piece as Buffer);
  return hash.digest("hex");
}

export interface VerifiedEvidence {
  readonly folder: string;
  readonly files: number;
  /** The manifest's own SHA-256, to be held against the one that was told when the pack was written. */
  readonly manifest: string;
  /** What is not as it was written, a sentence each. */
  readonly problems: readonly string[];
}

/**
 * Holds a pack's files against its manifest: what was altered, is missing, or was added. `expected` is the manifest's SHA-256 as it was told
 * when the pack was written. Errors: ExportError for a folder that is no pack.
 */
export async function verifyEvidence(folder: string, expected?: string): Promise<VerifiedEvidence> {
  const place = join(folder, MANIFEST);
  const bytes = await readFile(place).catch(() => {
    throw new ExportError(`${folder} holds no ${MANIFEST}: it is no evidence pack.`);
  });
  const text = bytes.toString("utf8");
  const manifest = sha256(bytes);
  const problems: string[] = [];
  if (expected !== undefined && expected !== manifest)
    problems.push(`${MANIFEST} was changed: its SHA-256 is ${manifest}, expected ${expected}`);
  const listed = new Map<string, string>();
  for (const [i, line] of text.split("\n").entries()) {
    if (line === "") continue;
    const [, hash, path] = /^([0-9a-f]{64}) {2}(.+)$/.exec(line) ?? [];
    if (hash === undefined || path === undefined || listed.has(path))
      problems.push(`${MANIFEST}, line ${i + 1}: cannot be read`);
    else listed.set(path, hash);
  }
  // Bytes that change no line, such as an empty one.
  if (problems.length === 0 && [...listed].map(([path, hash]) => `${hash}  ${path}\n`).join("") !== text)
    problems.push(`${MANIFEST} was changed: it holds more than a line for each file`);
  const { files, empty } = await below(folder);
  const found = new Set(files);
  found.delete(MANIFEST);
  for (const [path, hash] of listed) {
    if (!found.delete(path)) problems.push(`${path} is missing`);
    else if (!(await lstat(join(folder, path))).isFile()) problems.push(`${path} is no file`);
    else if ((await hashOfFile(join(folder, path))) !== hash) problems.push(`${path} was altered`);
  }
  for (const path of found) problems.push(`${path} was added`);
  for (const path of empty) problems.push(`${path}/ was added`);
  return { folder, files: listed.size, manifest, problems };
}
