import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { artifactPlace, hasItsHash } from "./artifacts.ts";
import { canonicalJson, hashOf } from "./canonical.ts";
import type { Connection } from "./database.ts";
import { summarise } from "./dataset.ts";
import { storeError } from "./errors.ts";
import { readSeal, writeSeal } from "./seal.ts";

/**
 * Everything that is not as it was written, in words. Reads everything: the database's structure, the rows of every finished
 * dataset, recipes, the outputs of stages, every artifact. Metrics, events, usage and unfinished stages have no hash; of
 * them the structure is checked.
 */
export async function findDamage(db: Connection): Promise<string[]> {
  const found = db
    .prepare<{ integrity_check: string }>("PRAGMA integrity_check")
    .all()
    .map((row) => row.integrity_check)
    .filter((text) => text !== "ok");
  for (const { id, recipe } of db
    .prepare<{ id: string; recipe: string }>("SELECT id, recipe FROM run ORDER BY id")
    .all())
    if (!id.endsWith(`-${hashOfJson(recipe)?.slice(0, 8)}`)) found.push(`recipe of run ${id} was changed`);
  const works = db
    .prepare<{ id: number; identity: string; hash: string | null; output: string | null; stages: string | null }>(`
      SELECT work.id, identity, hash, output, group_concat(holder.run || ' ' || holder.name, ', ') AS stages
      FROM work LEFT JOIN holder ON holder.work = work.id GROUP BY work.id ORDER BY work.id`)
    .all();
  for (const { id, identity, hash, output, stages } of works) {
    const name = stages === null ? `stage with identity ${identity}` : `stage ${stages}`;
    if (hash !== null && summarise(db, id).hash !== hash) found.push(`rows of ${name} were changed`);
    const sealed = readSeal(db, outputSeal(identity));
    const changed = sealed === undefined ? hashOfJson(output ?? "null") === undefined : sealed !== sha256(output ?? "");
    if (hash !== null && changed) found.push(`output of ${name} was changed`);
  }
  const artifacts = db
    .prepare<{ hash: string; stages: string | null }>(`
      SELECT hash, group_concat(holder.run || ' ' || holder.name, ', ') AS stages FROM artifact
      LEFT JOIN work_artifact ON artifact = hash LEFT JOIN holder ON holder.work = work_artifact.work
      GROUP BY hash ORDER BY hash`)
    .all();
  for (const { hash, stages } of artifacts) {
    const name = `artifact ${hash}${stages === null ? "" : ` of stage ${stages}`}`;
    if (!existsSync(artifactPlace(db.folder, hash))) found.push(`${name} is missing`);
    else if (!(await unchanged(db, hash))) found.push(`${name} was changed`);
  }
  return found;
}

/** Lets `findDamage` tell whether a finished stage's output is what was written. */
export function sealOutput(db: Connection, identity: string, output: string): void {
  writeSeal(db, outputSeal(identity), sha256(output));
}

const outputSeal = (identity: string) => `output ${identity}`;

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

async function unchanged(db: Connection, hash: string): Promise<boolean> {
  try {
    return await hasItsHash(db.folder, hash);
  } catch (error) {
    throw storeError(error, db.folder);
  }
}

/** The hash of a JSON text's value; undefined where it is no canonical JSON any more. */
function hashOfJson(text: string): string | undefined {
  try {
    const value = JSON.parse(text) as unknown;
    return canonicalJson(value) === text ? hashOf(value) : undefined;
  } catch {
    return undefined;
  }
}
