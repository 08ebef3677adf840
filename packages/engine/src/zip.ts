import { readdir, readFile } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import { crc32 } from "node:zlib";

/** 1980-01-01, the first day that a zip knows: the same contents give the same bytes. */
const date = 0x00210000;
const utf8Names = 0x0800;

/** Files of a folder by what a zip calls them: its own path, behind `at` where that is given; caches of Python are left out. */
export async function filesOf(folder: string, at?: string): Promise<Map<string, string>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return new Map(
    entries
      .filter((entry) => entry.isFile() && !entry.parentPath.includes("__pycache__"))
      .map((entry) => {
        const file = join(entry.parentPath, entry.name);
        const name = relative(folder, file).split(sep).join("/");
        return [at === undefined ? name : `${at}/${name}`, file];
      }),
  );
}

/** Files as a zip that only stores them, in the order of their names. @param contents files by what they are called there */
export async function zipFiles(contents: ReadonlyMap<string, string>): Promise<Buffer> {
  const names = [...contents.keys()].sort();
  const files: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const name of names) {
    const data = await readFile(contents.get(name)!);
    const path = Buffer.from(name);
    const common = Buffer.alloc(26); // version, flags, method 0, date, checksum, sizes, length of the name
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(utf8Names, 2);
    common.writeUInt32LE(date, 6);
    common.writeUInt32LE(crc32(data), 10);
    common.writeUInt32LE(data.length, 14);
    common.writeUInt32LE(data.length, 18);
    common.writeUInt16LE(path.length, 22);
    const place = Buffer.alloc(14); // rights, where the file's own entry begins
    place.writeUInt32LE((0o100644 << 16) >>> 0, 6);
    place.writeUInt32LE(at, 10);
    const entry = Buffer.concat([Buffer.from("PK\x03\x04", "latin1"), common, path, data]);
    directory.push(Buffer.concat([Buffer.from("PK\x01\x02\x14\x03", "latin1"), common, place, path]));
    files.push(entry);
    at += entry.length;
  }
  const central = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", 0, "latin1");
  end.writeUInt16LE(names.length, 8);
  end.writeUInt16LE(names.length, 10);
  end.writeUInt32LE(central.length, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...files, central, end]);
}
