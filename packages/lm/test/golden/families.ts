import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Tensor, weight } from "@tenet/tensor";
import { float16Table } from "../../src/checkpoint/floats.ts";
import { type Checkpoint, openCheckpoint, writeSafetensors } from "../../src/checkpoint/index.ts";

interface Stored {
  shape: number[];
  data: string;
}

/** A small checkpoint and its logits [rows, time, vocabulary], as families.py writes them. */
export interface FamilyGolden {
  config: Record<string, unknown>;
  weights: Record<string, Stored>;
  tokens: Stored;
  logits: Stored;
}

const here = new URL("families/", import.meta.url);

export async function familyNames(): Promise<string[]> {
  const files = (await readdir(here)).filter((file) => file.endsWith(".golden.json"));
  return files.map((file) => file.replace(".golden.json", "")).filter((name) => name !== "rotary");
}

export async function readFamily<T = FamilyGolden>(name: string): Promise<T> {
  return JSON.parse(await readFile(new URL(`${name}.golden.json`, here), "utf8"));
}

export function bytesOf(data: string): ArrayBuffer {
  return new Uint8Array(Buffer.from(data, "base64")).buffer;
}

/** Writes the checkpoint as the folder that transformers would, opens it for `use`, and removes it. */
export async function withCheckpoint<T>(
  { config, weights }: Pick<FamilyGolden, "config" | "weights">,
  use: (checkpoint: Checkpoint, folder: string) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "tenet-family-"));
  const half = float16Table();
  try {
    await writeFile(join(folder, "config.json"), JSON.stringify(config));
    const tensors = Object.entries(weights).map(([name, { shape, data }]) => {
      const values = Float32Array.from(new Uint16Array(bytesOf(data)), (bits) => half[bits]!);
      return { name, dtype: "F32" as const, shape, data: values };
    });
    await writeSafetensors(join(folder, "model.safetensors"), tensors, { format: "pt" });
    const checkpoint = await openCheckpoint(folder);
    try {
      return await use(checkpoint, folder);
    } finally {
      await checkpoint.close();
    }
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** All weights of a checkpoint in memory, as graph tensors. */
export async function graphWeights(checkpoint: Checkpoint): Promise<(name: string) => Tensor> {
  const weights = new Map<string, Tensor>();
  for (const [name, { shape }] of checkpoint.tensors)
    weights.set(name, weight(name, [...shape], { data: await checkpoint.read(name) }));
  return (name) => {
    const found = weights.get(name);
    if (!found) throw new Error(`the checkpoint has no "${name}"`);
    return found;
  };
}

export function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) throw new Error(`${a.length} numbers against ${b.length}`);
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i]! - b[i]!);
    if (!(difference <= largest)) largest = difference; // NaN as well
  }
  return largest;
}
