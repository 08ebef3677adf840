import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { writeTinyModel } from "./tiny-model.ts";

/**
 * The tiny model, changed so that it says printable ASCII and now and then ends: one hidden dimension is constant throughout, so
 * that its column of the head is a bias, and the other columns are large enough for some characters to be likelier than others.
 * `endBias`: of the tokens that end a reply, where a character's is 0.
 */
export async function writeTalkingModel(folder: string, { endBias = -1.5 } = {}): Promise<string> {
  await writeTinyModel(folder);
  const file = join(folder, "model.safetensors");
  const bytes = await readFile(file);
  const start = 8 + Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString("utf8", 8, start)) as Record<
    string,
    { shape: number[]; data_offsets: [number, number] }
  >;
  for (const [name, { shape, data_offsets: range }] of Object.entries(header)) {
    const change = changesWith(endBias).find(({ ending }) => name.endsWith(ending));
    if (!change) continue;
    const width = shape.at(-1)!;
    for (let i = 0; i < (range[1] - range[0]) / 4; i++) {
      const at = start + range[0] + 4 * i;
      bytes.writeFloatLE(change.value(Math.floor(i / width), i % width, bytes.readFloatLE(at)), at);
    }
  }
  await writeFile(file, bytes);
  return folder;
}

type Change = (row: number, column: number, value: number) => number;

const keepConstant: Change = (row, _, value) => (row === 0 ? 0 : value);

const changesWith = (endBias: number): readonly { ending: string; value: Change }[] => [
  { ending: "embed_tokens.weight", value: (_, column, value) => (column === 0 ? 4 : value) },
  { ending: "o_proj.weight", value: keepConstant },
  { ending: "down_proj.weight", value: keepConstant },
  {
    ending: "lm_head.weight",
    value: (row, column, value) => (column > 0 ? 2.5 * value : row >= 32 && row < 127 ? 0 : row >= 256 ? endBias : -40),
  },
];
