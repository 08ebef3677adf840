import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { openStore } from "@tenet/runs";
import { expect, test } from "vitest";
import { folder } from "../test/asking.ts";
import { Live } from "./live.ts";

setFlagsFromString("--expose_gc");
const collect = runInNewContext("gc") as () => void;

/** Megabytes in use behind what nothing holds any more. */
function inUse(): number {
  collect();
  collect();
  return process.memoryUsage().heapUsed / 1e6;
}

test("ten thousand events pass through a stream and leave nothing behind", async () => {
  const place = folder();
  const writing = openStore(place);
  const run = writing.begin({ name: "long", recipe: {} });
  const live = new Live(openStore(place, { readOnly: true }));
  const ended = new AbortController();
  const write = (count: number) => {
    for (let i = 0; i < count; i++) run.event({ kind: "message", message: `${i} ${"words ".repeat(400)}` });
  };
  const marks: number[] = [];
  let told = 0;
  write(1000);
  for await (const one of live.follow([run.id], undefined, ended.signal)) {
    if (one.kind !== "event") continue;
    told++;
    if (told % 1000 !== 0) continue;
    marks.push(inUse());
    if (told === 10_000) break;
    write(1000);
  }
  ended.abort();
  live.close();
  expect(told).toBe(10_000);
  // Nine thousand events of two kilobytes each: kept, they would be eighteen megabytes and more.
  expect(marks.at(-1)! - marks[0]!).toBeLessThan(3);
  writing.close();
}, 240_000);
