import { rmSync } from "node:fs";
import { join } from "node:path";
import { addArtifact } from "./artifacts.ts";
import { canonicalJson } from "./canonical.ts";
import type { Connection } from "./database.ts";
import { rowsOf, summarise } from "./dataset.ts";
import { NotInStoreError, StageBusyError, StoreError, storeError } from "./errors.ts";
import { makeFolder } from "./folder.ts";
import { Lock } from "./lock.ts";
import { readStage } from "./read.ts";
import { writeRollouts } from "./rollouts.ts";
import {
  type ArtifactInfo,
  checked,
  type Item,
  type Rollout,
  type StageInfo,
  type StoredRow,
  type Usage,
  usageSchema,
} from "./types.ts";
import { sealOutput } from "./verify.ts";

/** What `append` needs of an item that is in the store. */
interface KnownItem {
  id: number;
  rows: number;
  aside: number;
  /** The item that stands at the same place of this stage. */
  standing: number | null;
}

/** Writes one stage of a run. Got from `RunWriter.stage`; ends with the run. */
export class StageWriter {
  readonly run: string;
  readonly name: string;
  readonly identity: string;
  readonly #db: Connection;
  readonly #id: number;
  readonly #work: number;
  /** Inputs that `missing` gave out, by key: the first, and those that wait for its outcome. */
  readonly #wanted = new Map<string, number[]>();
  #scratchLock: Lock | undefined;
  #since = performance.now();
  #done: boolean;
  #closed = false;

  /** @internal */
  constructor(db: Connection, stage: { id: number; work: number; run: string; name: string; identity: string }) {
    this.#db = db;
    this.#id = stage.id;
    this.#work = stage.work;
    this.run = stage.run;
    this.name = stage.name;
    this.identity = stage.identity;
    this.#done = this.info.status === "done";
  }

  /** Whether there is nothing to do: this run, or another of the store, has finished it. Its results are in `info`. */
  get done(): boolean {
    return this.#done;
  }

  get info(): StageInfo {
    return readStage(this.#db, this.run, this.name, () => true)!;
  }

  /**
   * Which inputs have no outcome yet. Those whose key the store knows, from whatever stage or run, become part of this
   * stage at once. Of several inputs with one key only the first is given back; the others get its outcome when it is appended.
   */
  missing<Input extends { readonly key: string; readonly ordinal: number }>(inputs: readonly Input[]): Input[] {
    this.#mustBeOpen();
    return this.#db.transaction(() => {
      const found: Input[] = [];
      const known = inputs.flatMap((input) => {
        const item = this.#find(input);
        if (item?.standing === item?.id && item) return [];
        if (item) return { item, ordinal: input.ordinal };
        const waiting = this.#wanted.get(input.key) ?? [];
        if (waiting.length === 0 || waiting[0] === input.ordinal) found.push(input);
        if (!waiting.includes(input.ordinal)) this.#wanted.set(input.key, [...waiting, input.ordinal]);
        return [];
      });
      this.#link(known);
      return found;
    });
  }

  /**
   * The outcomes that the store has of some inputs, from whatever stage or run, by key; they become part of this stage where they are not
   * yet, at whatever place. Of the others it has none: they are to be appended.
   */
  recall<Row extends StoredRow>(
    inputs: readonly { readonly key: string; readonly ordinal: number }[],
  ): Map<string, { readonly rows: readonly Row[]; readonly aside?: string }> {
    this.#mustBeOpen();
    const member = this.#db.prepare<{ item: number }>("SELECT item FROM member WHERE work = ? AND item = ? LIMIT 1");
    this.#db.transaction(() => {
      for (const { key, ordinal } of inputs) {
        const known = this.#find({ key, ordinal });
        if (known && !member.get(this.#work, known.id)) this.#link([{ item: known, ordinal }]);
      }
    });
    const item = this.#db.prepare<{ aside: string | null; jsonl: string }>(
      "SELECT aside, jsonl FROM item WHERE key = ?",
    );
    return new Map(
      inputs.flatMap(({ key }) => {
        const found = item.get(bytesOf(key));
        if (!found) return [];
        const rows = found.jsonl === "" ? [] : found.jsonl.split("\n").map((line) => JSON.parse(line) as Row);
        return [[key, { rows, ...(found.aside !== null && { aside: found.aside }) }]];
      }),
    );
  }

  /**
   * Adds outcomes, all or none of them; what was appended survives the death of the process. Where the store has another
   * outcome under the same key, that one stands.
   *
   * @throws NotJsonError for rows that are no JSON; StoreError for rows without id or origin; StoreFullError.
   */
  append(items: readonly Item[], options: { usage?: Readonly<Record<string, Usage>> } = {}): void {
    this.#mustBeOpen();
    this.#db.transaction(() => {
      const links = items.flatMap((item) => {
        const known = this.#find(item) ?? this.#insert(item);
        const ordinals = new Set([item.ordinal, ...(this.#wanted.get(item.key) ?? [])]);
        return [...ordinals].map((ordinal) => ({ item: known, ordinal }));
      });
      this.#link(links);
      for (const [role, usage] of Object.entries(options.usage ?? {})) this.usage(role, usage);
      this.#spendTime();
    });
    for (const { key } of items) this.#wanted.delete(key);
  }

  /** Adds to what a role has spent in this stage. */
  usage(role: string, usage: Usage): void {
    this.#mustBeOpen();
    const { promptTokens, completionTokens, calls, seconds, dollars } = checked(usageSchema, usage, `usage of ${role}`);
    this.#db
      .prepare(`
        INSERT INTO usage VALUES(?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
          prompt_tokens = prompt_tokens + excluded.prompt_tokens,
          completion_tokens = completion_tokens + excluded.completion_tokens,
          calls = calls + excluded.calls, seconds = seconds + excluded.seconds,
          dollars = coalesce(dollars + excluded.dollars, dollars, excluded.dollars)`)
      .run(this.run, this.name, role, promptTokens, completionTokens, calls, seconds, dollars ?? null);
  }

  /** Records figures of one step; a step done again after a restart replaces its figures. */
  metrics(step: number, values: Readonly<Record<string, number>>): void {
    this.#mustBeOpen();
    const insert = this.#db.prepare("INSERT OR REPLACE INTO metric VALUES(?, ?, ?, ?)");
    this.#db.transaction(() => {
      for (const [name, value] of Object.entries(values))
        insert.run(this.#work, name, step, Number.isNaN(value) ? null : value); // SQLite knows no NaN
      this.#db.prepare("INSERT OR REPLACE INTO step VALUES(?, ?, ?)").run(this.#work, step, new Date().toISOString());
      this.#spendTime();
    });
  }

  /** Keeps what a policy said in one iteration, for people; a step done again replaces it. */
  rollouts(step: number, replies: readonly Omit<Rollout, "step">[]): void {
    this.#mustBeOpen();
    this.#db.transaction(() => writeRollouts(this.#db, this.#work, step, replies));
  }

  /** The rows so far, in the order of the inputs: see `Store.rows`. */
  rows<Row extends StoredRow>(): Generator<Row> {
    return rowsOf<Row>(this.#db, this.#work);
  }

  /**
   * A folder for what is unfinished, such as checkpoints: the same one after a restart; removed by `finish`.
   *
   * @throws StageBusyError while another run computes the same stage in it.
   */
  scratch(): string {
    this.#mustBeOpen();
    this.#scratchLock ??= Lock.acquire(join(this.#db.folder, "locks", this.identity));
    if (!this.#scratchLock) throw new StageBusyError(this.identity, this.name);
    const folder = this.#scratchFolder();
    try {
      makeFolder(folder);
    } catch (error) {
      throw storeError(error, folder);
    }
    return folder;
  }

  /** Copies a file or folder into the store, to stay as long as a run needs this stage. See `Store.addArtifact`. */
  addArtifact(path: string): Promise<ArtifactInfo> {
    return addArtifact(this.#db, path, { work: this.#work });
  }

  /**
   * Ends the stage and computes its dataset's hash. When another run of the store has finished the same stage meanwhile,
   * its results stand. `inputs`: how many there were; it is an error when one of them has no outcome.
   *
   * @throws StoreError when inputs are missing; NotInStoreError for an artifact that was not added.
   */
  finish(result: { inputs?: number; output?: unknown; artifacts?: readonly string[] } = {}): StageInfo {
    this.#mustBeOpen();
    const dataset = summarise(this.#db, this.#work);
    if (result.inputs !== undefined && dataset.items !== result.inputs)
      throw new StoreError(
        `stage ${this.name} of ${this.run}: ${dataset.items} of ${result.inputs} inputs have an outcome; append the others ` +
          "before it is finished",
      );
    this.#db.transaction(() => {
      const work = this.#db
        .prepare<{ items: number; finished: string | null }>("SELECT items, finished FROM work WHERE id = ?")
        .get(this.#work)!;
      if (work.finished === null) {
        if (work.items !== dataset.items)
          throw new StoreError(
            `stage ${this.name} of ${this.run}: another run adds to the same stage; finish it again`,
          );
        for (const hash of result.artifacts ?? []) this.#pin(hash);
        const output = result.output === undefined ? null : canonicalJson(result.output);
        this.#db
          .prepare("UPDATE work SET finished = ?, hash = ?, output = ? WHERE id = ?")
          .run(new Date().toISOString(), dataset.hash, output, this.#work);
        if (output !== null) sealOutput(this.#db, this.identity, output);
      }
      this.#spendTime();
      this.#db
        .prepare("UPDATE stage SET status = 'done', finished = ?, error = NULL WHERE id = ?")
        .run(new Date().toISOString(), this.#id);
    });
    this.#done = true;
    if (this.#scratchLock) rmSync(this.#scratchFolder(), { recursive: true, force: true });
    this.close();
    return this.info;
  }

  /** Ends the stage without a result. It can be begun again. */
  fail(error: string): void {
    this.#mustBeOpen();
    this.#db.transaction(() => {
      this.#spendTime();
      this.#db.prepare("UPDATE stage SET status = 'failed', error = ? WHERE id = ?").run(error, this.#id);
    });
    this.close();
  }

  /** Nothing can be written any more; the scratch folder is free for others. @internal */
  close(): void {
    this.#closed = true;
    this.#scratchLock?.release();
    this.#scratchLock = undefined;
  }

  #find({ key, ordinal }: { key: string; ordinal: number }): KnownItem | undefined {
    return this.#db
      .prepare<KnownItem>(`
        SELECT id, row_count AS rows, aside IS NOT NULL AS aside, member.item AS standing
        FROM item LEFT JOIN member ON work = ? AND ordinal = ? WHERE key = ?`)
      .get(this.#work, ordinal, bytesOf(key));
  }

  #insert(item: Item): KnownItem {
    const lines = item.rows.map((row, index) => {
      if (typeof row?.id !== "string" || !Array.isArray(row.origin?.parents))
        throw new StoreError(`stage ${this.name}: row ${index} of input ${item.input} has no id or no origin.parents`);
      return canonicalJson(row);
    });
    const { lastInsertRowid: id } = this.#db
      .prepare("INSERT INTO item(key, input, aside, row_count, jsonl) VALUES(?, ?, ?, ?, ?)")
      .run(bytesOf(item.key), item.input, item.aside ?? null, lines.length, lines.join("\n"));
    const insertRow = this.#db.prepare("INSERT INTO row VALUES(?, ?) ON CONFLICT DO NOTHING");
    for (const row of item.rows) insertRow.run(row.id, id);
    return { id, rows: lines.length, aside: item.aside === undefined ? 0 : 1, standing: null };
  }

  /** Makes items part of the stage, and counts them. */
  #link(links: readonly { item: KnownItem; ordinal: number }[]): void {
    if (links.length === 0) return;
    const insert = this.#db.prepare("INSERT INTO member VALUES(?, ?, ?) ON CONFLICT DO NOTHING");
    const added = links.filter(({ item, ordinal }) => {
      if (insert.run(this.#work, ordinal, item.id).changes === 1) return true;
      const other = this.#db
        .prepare<{ item: number }>("SELECT item FROM member WHERE work = ? AND ordinal = ?")
        .get(this.#work, ordinal)!;
      if (other.item !== item.id)
        throw new StoreError(
          `stage ${this.name} of ${this.run}: input ${ordinal} already has an outcome under another key. A stage's identity ` +
            "must depend on its inputs and on everything their keys depend on",
        );
      return false;
    });
    if (added.length === 0) return;
    const sum = (of: (item: KnownItem) => number) => added.reduce((total, { item }) => total + of(item), 0);
    const { changes } = this.#db
      .prepare(`
        UPDATE work SET items = items + ?, aside = aside + ?, row_count = row_count + ? WHERE id = ? AND finished IS NULL`)
      .run(
        added.length,
        sum(({ aside }) => aside),
        sum(({ rows }) => rows),
        this.#work,
      );
    if (changes === 0)
      throw new StoreError(`stage ${this.name} of ${this.run}: another run has finished it with fewer inputs`);
  }

  #pin(hash: string): void {
    if (!this.#db.prepare("SELECT hash FROM artifact WHERE hash = ?").get(hash))
      throw new NotInStoreError(`artifact ${hash} is not in ${this.#db.folder}; add it before the stage is finished`);
    this.#db.prepare("INSERT INTO work_artifact VALUES(?, ?) ON CONFLICT DO NOTHING").run(this.#work, hash);
  }

  /** Adds the time since the last call: a killed process loses none but that of its last step. */
  #spendTime(): void {
    const now = performance.now();
    this.#db.prepare("UPDATE stage SET seconds = seconds + ? WHERE id = ?").run((now - this.#since) / 1000, this.#id);
    this.#since = now;
  }

  #scratchFolder(): string {
    return join(this.#db.folder, "scratch", this.identity);
  }

  #mustBeOpen(): void {
    if (this.#closed && !this.#done)
      throw new StoreError(`stage ${this.name} of ${this.run} has ended without a result; begin it again`);
    if (this.#done) throw new StoreError(`stage ${this.name} of ${this.run} is finished; read its results`);
  }
}

function bytesOf(key: string): Uint8Array {
  const bytes = Buffer.from(key, "hex");
  if (bytes.length !== 32 || key.length !== 64)
    throw new StoreError(`${JSON.stringify(key)} is no memo key, expected the 64 hexadecimal digits of hashOf`);
  return bytes;
}
