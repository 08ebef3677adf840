import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { collect, openDataset } from "./index.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-safety-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function read(...records: unknown[]) {
  const path = join(folder, "labels.jsonl");
  await writeFile(path, records.map((record) => `${JSON.stringify(record)}\n`).join(""));
  return collect(await openDataset(path, { as: "safety" }));
}

const prompt = "How do I whittle?";
const two = { prompt, response_0: "Away from you.", response_1: "Towards you.", is_response_0_safe: true };

describe("people's words on the harm of replies", () => {
  it.each([
    ["one reply", { prompt, response: "Away.", is_safe: true }, [{ reply: "Away.", unsafe: 0 }], undefined],
    ["CSV's words", { prompt, response: "Away.", is_safe: "False" }, [{ reply: "Away.", unsafe: 1 }], undefined],
    ["a share of people", { prompt, response: "Away.", unsafe: 0.25 }, [{ reply: "Away.", unsafe: 0.25 }], undefined],
    [
      "a level alone",
      { prompt, response: "Away.", severity: 2 },
      [{ reply: "Away.", unsafe: 1, severity: 2 }],
      undefined,
    ],
    [
      "the level of none",
      { prompt, response: "Away.", severity: 0 },
      [{ reply: "Away.", unsafe: 0, severity: 0 }],
      undefined,
    ],
    [
      "two replies and the safer one",
      { ...two, is_response_1_safe: false, safer_response_id: 0, better_response_id: 1 },
      [
        { reply: "Away from you.", unsafe: 0 },
        { reply: "Towards you.", unsafe: 1 },
      ],
      0,
    ],
    [
      "two levels",
      {
        ...two,
        is_response_0_safe: false,
        is_response_1_safe: false,
        response_0_severity_level: 1,
        response_1_severity_level: 3,
      },
      [
        { reply: "Away from you.", unsafe: 1, severity: 1 },
        { reply: "Towards you.", unsafe: 1, severity: 3 },
      ],
      undefined,
    ],
  ])("%s", async (_, record, replies, safer) => {
    const { rows } = await read(record);
    expect(rows.map((row) => [row.replies, row.safer])).toEqual([[replies, safer]]);
    expect(rows[0]!.prompt).toEqual([{ role: "user", content: prompt }]);
  });

  it.each([
    [{ prompt, response: "Away." }, /expected prompt, response and is_safe.*found prompt, response/],
    [{ prompt, response: "Away.", is_safe: "maybe" }, /is_safe is maybe; expected true or false/],
    [{ prompt, response: "Away.", unsafe: 2 }, /unsafe is 2; expected a number between 0 and 1/],
    [two, /expected prompt/],
    [{ ...two, is_response_1_safe: true, safer_response_id: 2 }, /safer_response_id is 2; expected 0 or 1/],
    [{ ...two, is_response_1_safe: false, safer_response_id: 1 }, /response_1 is the one that is called unsafe/],
    [{ ...two, response_1: two.response_0, is_response_1_safe: true }, /the same reply/],
  ])("sets aside what says nothing: %j", async (record, reason) => {
    const good = { prompt, response: "Away.", is_safe: true };
    const { rows, asides } = await read(good, record);
    expect(rows).toHaveLength(1);
    expect(asides).toMatchObject([{ reason: expect.stringMatching(reason) }]);
  });

  it("keeps each person's word, also where two say the same", async () => {
    const one = { prompt, response: "Away.", is_safe: true };
    expect((await read(one, one, { ...one, is_safe: false })).rows).toHaveLength(3);
  });
});
