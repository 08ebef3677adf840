import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { writeWhole } from "@tenet/tensor";
import { CheckpointError } from "../checkpoint/index.ts";

/** Clocks of file systems go in steps of up to two seconds: two changes within one leave the same times. */
const clockStepMs = 2000;

/**
 * SHA-256 of a file's contents, in hexadecimal digits. The file is read once; `folder` remembers the hash for as long as the
 * system says that nothing happened to the file. Errors: what the disk refuses; CheckpointError for a file that changes
 * meanwhile.
 */
export async function contentsHash(path: string, folder: string): Promise<string> {
  const began = Date.now();
  const { facts, changed } = await factsOf(path);
  const place = join(folder, `${createHash("sha256").update(resolve(path)).digest("hex").slice(0, 32)}.sha256`);
  const [known, hash = ""] = (await readFile(place, "utf8").catch(() => "")).split("\n");
  if (known === facts && /^[0-9a-f]{64}$/.test(hash)) return hash;
  const digest = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) digest.update(chunk as Buffer);
  const found = digest.digest("hex");
  if ((await factsOf(path)).facts !== facts) throw changedMeanwhile(path);
  if (changed < began - clockStepMs) await writeWhole(place, (file) => file.writeFile(`${facts}\n${found}\n`));
  return found;
}

export function changedMeanwhile(path: string): CheckpointError {
  return new CheckpointError({
    file: path,
    expected: "a file that stays as it is while it is read",
    found: "one that was changed meanwhile",
    fix: "Start again when it is written.",
  });
}

/** What a file system knows of a file that changes with its contents, and when the last change was. */
async function factsOf(path: string): Promise<{ facts: string; changed: number }> {
  const { size, ino, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
  // Size and time of change can be given to other contents (cp -p, rsync -t), ctime cannot: the system sets it.
  return {
    facts: `${size} ${ino} ${mtimeNs} ${ctimeNs}`,
    changed: Number(ctimeNs > mtimeNs ? ctimeNs : mtimeNs) / 1e6,
  };
}
