import { type ChildProcess, spawn } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmdirSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { dataWarnings, estimateRun, exportParts, openRecipe, warningsOf } from "@tenet/align";
import type { Store } from "@tenet/runs";
import type { LaunchState, RecipeCheck, RecipeFile } from "./api.ts";
import type { ViewContext } from "./context.ts";
import { NotFoundError, RequestError, told } from "./errors.ts";

/*
 * Starts what a command would start, in processes of their own that go on when the page, or this server, is gone. What is started is
 * `tenet` and nothing else; its recipe is one of those that lie beside the store's runs, and no page names a path.
 */

export interface LaunchOptions {
  /** The program and its first arguments: what `tenet` is here. */
  readonly command: readonly string[];
  /** Where recipes lie, beside the folders that runs were opened from. */
  readonly project?: string | undefined;
}

export interface Changes {
  readonly limit?: number | undefined;
  readonly seed?: number | undefined;
}

/** Bytes of a log's end that are shown. */
const mostShown = 8_000;

export class Launcher {
  readonly #context: ViewContext;
  readonly #command: readonly string[];
  readonly #project: string | undefined;
  readonly #started = new Map<string, { log: string; child: ChildProcess; ended?: { code: number | null } }>();

  constructor(context: ViewContext, { command, project }: LaunchOptions) {
    this.#context = context;
    this.#command = command;
    this.#project = project;
  }

  get #store(): Store {
    return this.#context.store;
  }

  /** Recipes in the project's folder and in those of the files that the store's runs were opened from. */
  recipes(): RecipeFile[] {
    const folders = new Set<string>();
    if (this.#project !== undefined) folders.add(resolve(this.#project));
    for (const id of this.#store.runIds()) {
      const { file } = this.#context.judge.opened({ id });
      if (file !== undefined) folders.add(dirname(file));
    }
    const found = new Set<string>();
    for (const folder of folders) {
      if (!existsSync(folder)) continue;
      const real = realpathSync(folder);
      // Links are not followed: they may lead anywhere.
      for (const entry of readdirSync(real, { withFileTypes: true }))
        if (entry.isFile() && /\.ya?ml$/.test(entry.name) && isRecipe(join(real, entry.name)))
          found.add(join(real, entry.name));
    }
    return [...found].sort().map((file) => ({ file, name: basename(file), folder: dirname(file) }));
  }

  /** @throws NotFoundError for a file that is none of the recipes. */
  #known(file: string): string {
    const found = this.recipes().find((one) => one.file === file);
    if (!found)
      throw new NotFoundError(`${JSON.stringify(file)} is no recipe of this store's runs; tenet run takes any file`);
    return found.file;
  }

  text(file: string): string {
    return readFileSync(this.#known(file), "utf8");
  }

  /** What is wrong with a recipe, as it stands or as it was changed, and what running it would take. */
  async check(file: string, { text, ...changes }: Changes & { text?: string | undefined }): Promise<RecipeCheck> {
    const known = this.#known(file);
    const given = Object.fromEntries(Object.entries({ ...changes, text }).filter(([, value]) => value !== undefined));
    try {
      const open = await openRecipe(known, given);
      const { run, begun, stages, left, notes } = await estimateRun(open, { store: this.#store });
      const { seconds, untimed, dollars, promptTokens, completionTokens } = left;
      const warnings = [...new Set([...warningsOf(open), ...(await dataWarnings(open))])];
      return {
        problems: [],
        run,
        begun,
        command: this.#runCommand(known, changes, "tenet"),
        warnings,
        // What gates lack is a warning, and said once.
        notes: notes.filter((note) => !warnings.includes(note)),
        estimate: {
          stages: stages.map(({ stage, title, state, rows, seconds: own }) => ({
            ...{ stage, title, state, rows },
            ...(own !== undefined && { seconds: own }),
          })),
          ...{ seconds, untimed, promptTokens, completionTokens },
          ...(dollars !== undefined && { dollars }),
        },
      };
    } catch (error) {
      const { status, body } = told(error);
      if (status !== 400) throw error;
      const problems = (body.error.problems ?? []) as { line?: number; message?: string }[];
      return {
        problems: problems.map(({ line, message }) => ({
          message: message ?? body.error.message,
          ...(line !== undefined && { line }),
        })),
        ...(problems.length === 0 && { problems: [{ message: body.error.message }] }),
      };
    }
  }

  /** A changed recipe beside the one that it was made of, in a file that was not there. */
  saveAs(file: string, name: string, text: string): RecipeFile {
    const folder = dirname(this.#known(file));
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,80}\.ya?ml$/.test(name))
      throw new RequestError(
        `${JSON.stringify(name)}: expected a file name of letters, digits, dots, dashes and underscores that ends in .yaml`,
      );
    const place = join(folder, name);
    try {
      writeFileSync(place, text, { flag: "wx" });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EEXIST")
        throw new RequestError(`${place} is there already: a recipe is saved under a new name`);
      throw error;
    }
    return { file: place, name, folder };
  }

  /** Begins a run, or goes on with it. Gives its id, under which `state` tells of the process. */
  async run(file: string, changes: Changes): Promise<{ run: string; command: string }> {
    const known = this.#known(file);
    const { problems, run } = await this.check(known, changes);
    if (run === undefined) throw new RequestError(problems.map(({ message }) => message).join("\n"));
    if (this.#store.running().includes(run)) throw new RequestError(`run ${run} is running already`);
    this.#start(run, ["run", known, ...changesAsArguments(changes), "--store", this.#store.folder]);
    return { run, command: this.#runCommand(known, changes, "tenet") };
  }

  /** Exports parts of a run into a new folder of the store. */
  export(run: string, parts: readonly string[], checkpoint: string | undefined): { name: string; folder: string } {
    const wrong = parts.find((part) => !(exportParts as readonly string[]).includes(part));
    if (wrong !== undefined || parts.length === 0)
      throw new RequestError(`expected parts among ${exportParts.join(", ")}, got ${JSON.stringify(wrong ?? "")}`);
    const exports = join(this.#store.folder, "exports");
    mkdirSync(exports, { recursive: true });
    const nameOf = (place: string) => `export ${basename(place)}`;
    let folder = "";
    // An export that works still makes its folder at its end: the name is taken by an empty one, and by the export itself.
    for (let i = 1; folder === "" || this.#running(nameOf(folder)) || !madeFolder(folder); i++)
      folder = join(exports, `${run}-${i}`);
    const name = nameOf(folder);
    this.#start(
      name,
      [
        ...["export", run, folder, "--what", parts.join(",")],
        ...(checkpoint === undefined ? [] : ["--checkpoint", checkpoint]),
        ...["--store", this.#store.folder],
      ],
      () => removeEmpty(folder),
    );
    return { name, folder };
  }

  /** How a process that was started here does, and the end of what it said; undefined where none was. */
  state(name: string): LaunchState | undefined {
    const found = this.#started.get(name);
    if (!found) return undefined;
    const said = existsSync(found.log) ? readFileSync(found.log, "utf8").slice(-mostShown) : "";
    const begun = this.#store.runIds().includes(name);
    return { running: found.ended === undefined, begun, said, ...(found.ended && { code: found.ended.code }) };
  }

  #runCommand(file: string, changes: Changes, program: string): string {
    const quoted = /^[\w./-]+$/.test(file) ? file : `'${file.replaceAll("'", "'\\''")}'`;
    return [program, "run", quoted, ...changesAsArguments(changes)].join(" ");
  }

  #running(name: string): boolean {
    const found = this.#started.get(name);
    return found !== undefined && found.ended === undefined;
  }

  #start(name: string, args: readonly string[], behind = () => {}): void {
    const folder = join(this.#store.folder, "launches");
    mkdirSync(folder, { recursive: true });
    const log = join(folder, `${name.replaceAll(/[^\w.-]/g, "-")}.log`);
    const [program, ...first] = this.#command as [string, ...string[]];
    const out = openSync(log, "w", 0o600);
    // No shell: arguments are arguments, whatever stands in them.
    const child = spawn(program, [...first, ...args], { stdio: ["ignore", out, out], detached: true });
    closeSync(out);
    const entry: { log: string; child: ChildProcess; ended?: { code: number | null } } = { log, child };
    this.#started.set(name, entry);
    const end = (code: number | null) => {
      entry.ended = { code };
      behind();
      this.#context.live.touch();
    };
    child.once("exit", end);
    child.once("error", () => end(null));
    child.unref();
  }
}

/** Makes a folder that is not there yet; whether it did. */
function madeFolder(folder: string): boolean {
  try {
    mkdirSync(folder);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

/** Removes a folder that nothing was written into. */
function removeEmpty(folder: string): void {
  if (existsSync(folder) && readdirSync(folder).length === 0) rmdirSync(folder);
}

function changesAsArguments({ limit, seed }: Changes): string[] {
  return [
    ...(limit === undefined ? [] : ["--limit", String(limit)]),
    ...(seed === undefined ? [] : ["--seed", String(seed)]),
  ];
}

/** Whether a file says, as recipes do, which model and which prompts. Constitutions and others lie beside them. */
function isRecipe(file: string): boolean {
  const text = readFileSync(file, "utf8");
  return text.length < 500_000 && /^model:/m.test(text) && /^prompts:/m.test(text) && /^constitution:/m.test(text);
}
