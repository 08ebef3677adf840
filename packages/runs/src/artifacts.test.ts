import { createHash } from "node:crypto";
import {
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../test/folders.ts";
import { Connection } from "./database.ts";
import { ArtifactChangedError, hashOf, NotInStoreError, openStore, StoreError } from "./index.ts";

const sha256 = (text: string | Buffer) => createHash("sha256").update(text).digest("hex");

function adapter(config = "{}"): string {
  const folder = temporaryFolder();
  mkdirSync(join(folder, "sub", "deep"), { recursive: true });
  mkdirSync(join(folder, "empty"));
  writeFileSync(join(folder, "weights.bin"), Buffer.alloc(3_000_000, 7));
  writeFileSync(join(folder, "config.json"), config);
  writeFileSync(join(folder, "sub", "deep", "é.txt"), "deep");
  return folder;
}

test("a file's hash is its SHA-256, a folder's that of the list sha256sum prints", async () => {
  const store = openStore(temporaryFolder());
  const folder = adapter();
  const list = [
    `${sha256("{}")}  config.json\n`,
    `${sha256("deep")}  sub/deep/é.txt\n`,
    `${sha256(Buffer.alloc(3_000_000, 7))}  weights.bin\n`,
  ];
  const added = await store.addArtifact(folder);
  expect(added).toEqual({ hash: sha256(list.join("")), bytes: 3_000_006 });
  expect(readFileSync(join(store.artifactPath(added.hash), "sub", "deep", "é.txt"), "utf8")).toBe("deep");

  const file = await store.addArtifact(join(folder, "config.json"));
  expect(file).toEqual({ hash: sha256("{}"), bytes: 2 });
  expect(readFileSync(store.artifactPath(file.hash), "utf8")).toBe("{}");
  store.close();
});

test("equal contents are kept once, at the same time too; nothing temporary stays", async () => {
  const store = openStore(temporaryFolder());
  const added = await Promise.all([adapter(), adapter(), adapter('{"r":8}')].map((one) => store.addArtifact(one)));
  expect(new Set(added.map(({ hash }) => hash)).size).toBe(2);
  expect(readdirSync(join(store.folder, "artifacts")).sort()).toEqual(
    [...new Set(added.map(({ hash }) => hash))].sort(),
  );
  store.close();
});

test("an artifact that was changed is found out", async () => {
  const store = openStore(temporaryFolder());
  const { hash } = await store.addArtifact(adapter());
  expect(await store.isIntact(hash)).toBe(true);
  expect(await store.verify()).toEqual([]);
  writeFileSync(join(store.artifactPath(hash), "config.json"), "[]");
  expect(await store.isIntact(hash)).toBe(false);
  expect(await store.verify()).toEqual([`artifact ${hash} was changed`]);
  store.close();
});

test("one that was changed is named when it is opened, however it was done; adding it again mends it", async () => {
  const store = openStore(temporaryFolder());
  const source = adapter();
  const { hash } = await store.addArtifact(source);
  const file = join(store.artifactPath(hash), "weights.bin");
  const good = readFileSync(file);
  const flipped = Buffer.from(good);
  flipped[1_500_000]! ^= 1;
  const { atime, mtime } = statSync(file);
  const changes: (() => void)[] = [
    () => writeFileSync(file, good.subarray(0, -1)),
    () => writeFileSync(file, flipped),
    () => {
      // As `cp -p` and `rsync -t` do: equal size, equal time, another file in its place.
      writeFileSync(`${file}.new`, flipped);
      utimesSync(`${file}.new`, atime, mtime);
      renameSync(`${file}.new`, file);
    },
    () => writeFileSync(join(store.artifactPath(hash), "more"), ""),
    () => rmSync(file),
  ];
  for (const change of changes) {
    expect(await store.intactArtifact(hash)).toBe(store.artifactPath(hash));
    change();
    await expect(store.intactArtifact(hash)).rejects.toThrow(ArtifactChangedError);
    await expect(store.intactArtifact(hash)).rejects.toThrow(/artifacts.* was changed .* run the recipe again/s);
    expect(await store.verify()).toEqual([`artifact ${hash} was changed`]);
    expect((await store.addArtifact(source)).hash).toBe(hash);
  }
  expect(await store.verify()).toEqual([]);
  expect(readFileSync(file).equals(good)).toBe(true);
  expect(readdirSync(join(store.folder, "artifacts"))).toEqual([hash]);
  store.close();
});

test("one that is unchanged is not read again, and one that was copied with its store is", async () => {
  const store = openStore(temporaryFolder());
  const { hash } = await store.addArtifact(adapter());
  store.close();
  const copy = temporaryFolder();
  cpSync(store.folder, copy, { recursive: true });
  for (const [folder, readOnly] of [
    [store.folder, true],
    [copy, true],
    [copy, false],
  ] as const) {
    const opened = openStore(folder, { readOnly });
    expect(await opened.intactArtifact(hash)).toBe(opened.artifactPath(hash));
    opened.close();
  }
  // Told apart by what no opening looks at: a seal that stands for whatever is there now.
  const db = new Connection(copy);
  const seal = () => db.prepare<{ value: string }>("SELECT value FROM seal").get()!.value;
  const before = seal();
  const opened = openStore(copy);
  await opened.intactArtifact(hash);
  expect(seal()).toBe(before);
  db.prepare("UPDATE seal SET value = 'none'").run();
  await opened.intactArtifact(hash);
  expect(seal()).toBe(before);
  opened.close();
  db.close();
});

test("a finished stage whose artifact was changed is made again", async () => {
  const store = openStore(temporaryFolder());
  const spec = { name: "train", kind: "train", identity: hashOf("train") };
  const first = store.begin({ name: "desk", recipe: {} });
  const stage = first.stage(spec);
  const { hash } = await stage.addArtifact(adapter());
  stage.finish({ artifacts: [hash], output: { artifact: hash } });
  expect(await first.removeChanged(spec.identity)).toEqual([]);
  expect(first.stage(spec).done).toBe(true);
  const place = store.artifactPath(hash);
  writeFileSync(join(place, "config.json"), "[]");
  expect(await first.removeChanged(spec.identity)).toEqual([place]);
  const again = first.stage(spec);
  expect(again.done).toBe(false);
  await again.addArtifact(adapter());
  again.finish({ artifacts: [hash], output: { artifact: hash } });
  expect(await store.verify()).toEqual([]);
  store.close();
});

test("links, missing sources and hashes that are none are refused", async () => {
  const store = openStore(temporaryFolder());
  const folder = adapter();
  await expect(store.addArtifact(join(folder, "none"))).rejects.toThrow("ENOENT");
  symlinkSync("/etc/hostname", join(folder, "link"));
  await expect(store.addArtifact(folder)).rejects.toThrow(/link is neither a file nor a folder/);
  expect(readdirSync(join(store.folder, "artifacts"))).toEqual([]);
  expect(() => store.artifactPath("../store.db")).toThrow(StoreError);
  expect(() => store.artifactPath(hashOf("none"))).toThrow(NotInStoreError);
  store.close();
});
