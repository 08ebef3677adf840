import type { Connection } from "./database.ts";

/*
 * Seals are short texts that tell later whether something is as it was: see `isIntact` and `findDamage`. Their table came
 * after the others; a store without it, or without a seal, is read as one where nothing is known.
 */

/** Makes the table in a store that was made before there were seals. Programs that know of none leave it alone. */
export function prepareSeals(db: Connection): void {
  db.exec("CREATE TABLE IF NOT EXISTS seal(name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID");
}

export function readSeal(db: Connection, name: string): string | undefined {
  if (!hasSeals(db)) return undefined;
  return db.prepare<{ value: string }>("SELECT value FROM seal WHERE name = ?").get(name)?.value;
}

/** Keeps a seal; a store that is only read keeps none. */
export function writeSeal(db: Connection, name: string, value: string): void {
  if (db.readOnly || !hasSeals(db)) return;
  db.prepare("INSERT OR REPLACE INTO seal VALUES(?, ?)").run(name, value);
}

function hasSeals(db: Connection): boolean {
  return db.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'seal'").get() !== undefined;
}
