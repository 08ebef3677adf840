import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { withLock } from "./lock.ts";

describe("withLock", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "tenet-lock-"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it("lets one in at a time, across processes", async () => {
    const log = join(folder, "log");
    const code = `
      import { appendFile } from "node:fs/promises";
      import { withLock } from ${JSON.stringify(new URL("lock.ts", import.meta.url).href)};
      for (let i = 0; i < 5; i++)
        await withLock(${JSON.stringify(join(folder, "lock"))}, async () => {
          await appendFile(${JSON.stringify(log)}, "in\\n");
          await new Promise((resolve) => setTimeout(resolve, 10));
          await appendFile(${JSON.stringify(log)}, "out\\n");
        });`;
    const children = [1, 2, 3].map(() =>
      spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", code], {
        stdio: ["ignore", "ignore", "pipe"],
      }),
    );
    const codes = await Promise.all(children.map(async (child) => (await once(child, "exit"))[0]));
    expect(codes).toEqual([0, 0, 0]);
    expect(await readFile(log, "utf8")).toBe("in\nout\n".repeat(15));
  });

  it("takes over from a holder that died", async () => {
    const file = join(folder, "dead");
    await writeFile(file, "somebody");
    const old = new Date(Date.now() - 60_000);
    await utimes(file, old, old);
    let waited = 0;
    expect(await withLock(file, async () => "mine", { onWait: () => waited++ })).toBe("mine");
    expect(waited).toBe(1);
    await expect(readFile(file)).rejects.toThrow("ENOENT");
  });

  it("takes over from a dead one whose time is in the future, and not from a living one there", async () => {
    const file = join(folder, "future");
    await writeFile(file, "somebody");
    const future = (seconds: number) => new Date(Date.now() + 1000 * (3600 + seconds));
    await utimes(file, future(0), future(0));
    expect(await withLock(file, async () => "mine", { deadAfterMs: 200 })).toBe("mine");

    await writeFile(file, "somebody");
    let beats = 0;
    const beat = setInterval(() => void utimes(file, future(beats), future(beats++)), 50);
    const signal = AbortSignal.timeout(2000);
    await expect(withLock(file, async () => "mine", { deadAfterMs: 1000, signal })).rejects.toThrow("timeout");
    clearInterval(beat);
    expect(await readFile(file, "utf8")).toBe("somebody");
    await rm(file);
  });

  it("waits for a living one until it is told not to, and lets go after a failure", async () => {
    const file = join(folder, "alive");
    await writeFile(file, "somebody");
    const signal = AbortSignal.timeout(250);
    await expect(withLock(file, async () => "mine", { signal })).rejects.toThrow("timeout");
    expect(await readFile(file, "utf8")).toBe("somebody");
    await rm(file);
    await expect(withLock(file, () => Promise.reject(new Error("broken")))).rejects.toThrow("broken");
    expect(await withLock(file, async () => 1)).toBe(1);
  });
});
