import { readFileSync } from "node:fs";
import { inflateSync } from "node:zlib";
import type { Message } from "../../src/language-model/types.ts";

/** Ids as golden.py packs them. */
export interface TokenizerGolden {
  recognised: string;
  differ: number[];
  plain: string;
  notRoundTrip: Record<string, string>;
  skipped: Record<string, string>;
}

export interface TokenizersGolden {
  strings: string[];
  tiny: TokenizerGolden;
  smollm2: TokenizerGolden;
  qwen3: TokenizerGolden;
}

export interface ChatGolden {
  variables: Record<string, string>;
  conversations: Message[][];
  templates: Record<string, { template: string; rendered: (string | null)[] }>;
  smollm2: string;
  qwen3: string;
}

export function readGolden<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(name, import.meta.url), "utf8")) as T;
}

export function unpack(packed: string): number[][] {
  const bytes = inflateSync(Buffer.from(packed, "base64"));
  const lists: number[][] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUInt32LE(at);
    lists.push(Array.from({ length }, (_, i) => bytes.readUInt32LE(at + 4 * (i + 1))));
    at += 4 * (length + 1);
  }
  return lists;
}
