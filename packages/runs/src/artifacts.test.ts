import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../test/folders.ts";
import { hashOf, NotInStoreError, openStore, StoreError } from "./index.ts";

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
