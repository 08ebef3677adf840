import { imageText, type Message, type PreferenceRow, rowId } from "@tenet/data";
import { hashOf } from "@tenet/runs";
import { afterAll, expect, test } from "vitest";
import { Asking } from "../test/asking.ts";
import type { Pairs, RowDetail, RowPage } from "./api.ts";

const asking = new Asking({ prompts: 4, done: 1 });
afterAll(() => asking.close());

const image = "data:image/png;base64,iVBORw0KGgo=";
const prompt: Message[] = [{ role: "user", content: "What is it?", images: [image] }];
const row: PreferenceRow = {
  ...{ id: rowId("preference", prompt), origin: { parents: [] }, prompt, a: "A cat.", b: "A dog.", p: 1 },
  ...{ weight: 1, label: "ai", explanation: [] },
};

test("what a prompt shows is told in words, and no page carries its bytes", async () => {
  const run = asking.written.store.begin({ name: "seen", recipe: { model: "fixture" }, versions: { tenet: "0.0.0" } });
  const stage = run.stage({ name: "audit labels", kind: "label", identity: hashOf("audit labels of images") });
  stage.append([{ input: "1", key: hashOf("seen"), ordinal: 0, rows: [row] }]);
  stage.finish();
  run.end("done");
  const told = [{ role: "user", content: `${imageText(image)}\nWhat is it?` }];
  const stages = `/api/runs/${run.id}/stages/${encodeURIComponent("audit labels")}`;
  const { rows } = await asking.get<RowPage>(`${stages}/rows`);
  expect(rows.map((one) => one.row)).toMatchObject([{ id: row.id, prompt: told }]);
  expect((await asking.get<RowDetail>(`/api/rows/${row.id}`)).row).toMatchObject({ prompt: told });
  const { pairs } = await asking.get<Pairs>(`/api/runs/${run.id}/pairs?stage=${encodeURIComponent("audit labels")}`);
  expect(pairs).toMatchObject([{ row: row.id, prompt: told }]);
  expect(JSON.stringify([rows, pairs])).not.toContain("base64");
});
