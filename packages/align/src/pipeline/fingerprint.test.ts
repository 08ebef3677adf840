import { cp, mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { baseIdentity, contentsFingerprint } from "@tenet/train";
import { afterAll, expect, it } from "vitest";
import { modelFingerprint } from "./models.ts";

const home = await mkdtemp(join(tmpdir(), "tenet-fingerprint-"));
afterAll(() => rm(home, { recursive: true }));

async function written(name: string, files: Readonly<Record<string, string | Uint8Array>>): Promise<string> {
  const folder = join(home, name);
  await mkdir(folder);
  for (const [file, contents] of Object.entries(files)) await writeFile(join(folder, file), contents);
  return folder;
}

/** A file larger than the stretches that are read, with one byte that differs. */
function large(at: number): Uint8Array {
  const bytes = new Uint8Array(4 << 20);
  bytes[at] = 1;
  return bytes;
}

it("tells contents from others', wherever they lie", async () => {
  const model = await written("model", { "config.json": "{}", "model.safetensors": large(0) });
  const found = await contentsFingerprint([model]);
  await cp(model, join(home, "copy"), { recursive: true });
  expect(await contentsFingerprint([join(home, "copy")])).toBe(found);
  await rename(join(home, "copy", "config.json"), join(home, "copy", "other.json"));
  expect(await contentsFingerprint([join(home, "copy")])).not.toBe(found);
  const seen = new Set([found]);
  for (const at of [1, 2 << 20, (4 << 20) - 1]) {
    await writeFile(join(model, "model.safetensors"), large(at));
    seen.add(await contentsFingerprint([model]));
  }
  await writeFile(join(model, "config.json"), "{ }");
  seen.add(await contentsFingerprint([model]));
  expect(seen.size).toBe(5);
});

it("of a model under an adapter is that of both", async () => {
  const reference = await written("base", { "config.json": "{}" });
  const adapter = await written("adapter", { "adapter_config.json": "{}" });
  const other = await written("other", { "adapter_config.json": "{ }" });
  const of = (folder?: string) =>
    modelFingerprint({ type: "local", reference, ...(folder !== undefined && { adapter: folder }) });
  expect(new Set([await of(), await of(adapter), await of(other)]).size).toBe(3);
});

it("a base is known by its contents where it lies in a folder, else by its reference", async () => {
  const folder = await written("known", { "config.json": "{}" });
  expect(await baseIdentity({ id: folder })).toBe(await contentsFingerprint([folder]));
  expect(await baseIdentity({ id: "smollm2-135m-instruct" })).toBe("smollm2-135m-instruct");
  expect(await baseIdentity({ id: join(home, "nowhere") })).toBe(join(home, "nowhere"));
});
