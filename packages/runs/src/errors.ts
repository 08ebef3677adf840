/** What a run store can fail with. Each subclass is one thing to do about it; the message says what. */
export class StoreError extends Error {
  override name = "StoreError";
}

/** No room left. What was appended before is kept, and a run started again continues behind it. */
export class StoreFullError extends StoreError {
  override name = "StoreFullError";
}

/** The folder or a file in it may not be read or written. */
export class StoreAccessError extends StoreError {
  override name = "StoreAccessError";
}

/** The disk failed to read or write. */
export class StoreIoError extends StoreError {
  override name = "StoreIoError";
}

/** The database's file is damaged, or is none. */
export class StoreCorruptError extends StoreError {
  override name = "StoreCorruptError";
}

/** The store was written by a newer Tenet, or by another program. */
export class StoreVersionError extends StoreError {
  override name = "StoreVersionError";
}

/** Another process kept the database to itself for longer than is waited. */
export class StoreBusyError extends StoreError {
  override name = "StoreBusyError";
}

/** There is no such store, run, stage or artifact. */
export class NotInStoreError extends StoreError {
  override name = "NotInStoreError";
}

/** An artifact is not what was put there: a file of it was changed, cut or damaged. */
export class ArtifactChangedError extends StoreError {
  override name = "ArtifactChangedError";

  constructor(place: string) {
    super(
      `${place} was changed since it was made: its contents no longer have the hash that it is named by. Restore a copy; or ` +
        "run the recipe again, which makes it anew",
    );
  }
}

/** Who writes a run. */
export interface Writer {
  pid: number;
  host: string;
  /** ISO 8601. */
  since: string;
}

/** Another process, or another part of this one, writes the run. */
export class RunBusyError extends StoreError {
  override name = "RunBusyError";
  readonly run: string;
  /** Absent in the instant before it has signed. */
  readonly writer: Writer | undefined;

  constructor(run: string, writer: Writer | undefined) {
    const who = writer ? `process ${writer.pid} on ${writer.host} since ${writer.since}` : "another process";
    super(
      `run ${run} is being written by ${who}; a run has one writer. Wait for it to end or stop it, then start this one ` +
        "again: it continues where that one stopped",
    );
    this.run = run;
    this.writer = writer;
  }
}

/** Another run computes the same stage in the same scratch folder. */
export class StageBusyError extends StoreError {
  override name = "StageBusyError";
  readonly identity: string;

  constructor(identity: string, stage: string) {
    super(
      `stage ${stage} is being computed by another run of this store. Wait until that run is through and start this one ` +
        "again: the stage will be taken from it",
    );
    this.identity = identity;
  }
}

/** The person-readable error for what SQLite or the file system reported; anything else as it is. */
export function storeError(error: unknown, folder: string): unknown {
  if (!(error instanceof Error) || error instanceof StoreError) return error;
  const code = (error as { code?: unknown }).code;
  if (typeof code !== "string") return error;
  const rule = rules.find(({ codes }) => codes.test(code));
  return rule ? new rule.type(`${folder}: ${rule.text} (${code}: ${error.message})`, { cause: error }) : error;
}

const rules: readonly { codes: RegExp; type: typeof StoreError; text: string }[] = [
  {
    codes: /^(SQLITE_FULL|SQLITE_IOERR_SHMSIZE|ENOSPC|EDQUOT)$/,
    type: StoreFullError,
    text:
      "no room left on the disk. Free some, for example with the store's garbage collection, and start again: what was " +
      "finished is kept, the run continues behind it",
  },
  {
    codes: /^(SQLITE_READONLY\w*|EROFS)$/,
    type: StoreAccessError,
    text:
      "is read-only, so nothing can be written there. What only reads a store works (tenet ls, show, report, chat, export); " +
      "to write, name another folder (--store), or make this one writable",
  },
  {
    codes: /^(SQLITE_(CANTOPEN|PERM|AUTH)\w*|EACCES|EPERM)$/,
    type: StoreAccessError,
    text: "cannot be read or written by this user. Check who owns the folder and the files in it, and their permissions",
  },
  {
    codes: /^(SQLITE_(CORRUPT|NOTADB)\w*)$/,
    type: StoreCorruptError,
    text:
      "store.db is damaged or no database. Artifacts are not affected. Restore a copy, or rescue what can be read with " +
      "`sqlite3 store.db .recover | sqlite3 rescued.db`; without it, move store.db, store.db-wal and store.db-shm away " +
      "together and start anew",
  },
  {
    codes: /^(SQLITE_(BUSY|LOCKED)\w*)$/,
    type: StoreBusyError,
    text: "another process keeps the database to itself. Find and end it, or wait, and start again",
  },
  {
    codes: /^(SQLITE_IOERR\w*|SQLITE_NOLFS|EIO)$/,
    type: StoreIoError,
    text: "the disk failed. Check it; then start again: what was finished is kept",
  },
];
