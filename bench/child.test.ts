import { fileURLToPath } from "node:url";
import { afterEach, expect, test } from "vitest";
import { Child } from "./child.ts";

const children: Child[] = [];
afterEach(() => Promise.all(children.splice(0).map((child) => child.stop())));

/** A contestant in plain JavaScript: `onCommand` sees `cmd` and `answer`. */
function start(setUp: string, onCommand = "", answerTimeoutSeconds = 10): Promise<Child> {
  const script = `
    const answer = (message) => console.log(JSON.stringify(message));
    ${setUp}
    require("node:readline").createInterface({ input: process.stdin }).on("line", (line) => {
      const { cmd } = JSON.parse(line);
      ${onCommand}
    });`;
  const contestant = { name: "fake", command: process.execPath, args: ["-e", script, "--"] };
  const options = { threads: 3, answerTimeoutSeconds, task: "task.json" };
  return Child.start(contestant, options, (child) => children.push(child));
}

const ready = "answer({ ready: true });";

test("a contestant is told its threads and its task and answers commands", async () => {
  const child = await start(
    ready,
    `if (cmd === "round") answer({ seconds: 1.5, flops: 4, peak_rss: 7 });
     if (cmd === "ceiling") answer({ gflops: process.argv.slice(-4) });`,
  );
  expect(await child.round()).toEqual({ seconds: 1.5, flops: 4, peak_rss: 7 });
  expect(await child.ceiling()).toEqual(["--task", "task.json", "--threads", "3"]);
  expect(await child.round()).toMatchObject({ seconds: 1.5 });
});

test("a contestant that dies is named, with the end of its stderr", async () => {
  await expect(start('console.error("no such model"); process.exit(3);')).rejects.toThrow(
    /^fake ended with exit code 3\. The end of its stderr:\nno such model$/,
  );
  const child = await start(ready, 'process.kill(process.pid, "SIGKILL");');
  await expect(child.round()).rejects.toThrow("fake ended with SIGKILL");
  await expect(child.round()).rejects.toThrow("fake ended with SIGKILL");
});

test("a contestant that cannot be started is named", async () => {
  const contestant = { name: "absent", command: fileURLToPath(new URL("no-such-program", import.meta.url)), args: [] };
  await expect(Child.start(contestant, { threads: 1 })).rejects.toThrow("absent could not be started");
});

test("a contestant that falls silent is ended", async () => {
  const child = await start(ready, "", 0.2);
  await expect(child.round()).rejects.toThrow("fake gave no answer for 0.2 s");
  await child.stop();
  expect(() => process.kill(child.pid!, 0)).toThrow("ESRCH");
});

test("a contestant that speaks out of turn is ended", async () => {
  const child = await start(ready, 'console.log("step 1: loss 10.8");');
  await expect(child.round()).rejects.toThrow(/answered "step 1: loss 10\.8" where "seconds" was expected/);
});

test("ours begins anew with each peer", async () => {
  const path = fileURLToPath(new URL("contestant.ts", import.meta.url));
  const script = `import(${JSON.stringify(path)}).then(({ serveContestant }) => serveContestant({
    build: async () => {
      let taught = 0;
      return { round: () => ({ loss: 10 - taught++ }), reset: () => { taught = 0; } };
    },
  }))`;
  const args = ["--conditions=source", "--import", "tsx", "-e", script, "--"];
  const child = await Child.start({ name: "tenet", command: process.execPath, args }, { threads: 1 }, (c) =>
    children.push(c),
  );
  const losses = async () => [(await child.round()).loss, (await child.round()).loss];
  expect(await losses()).toEqual([10, 9]);
  await child.reset();
  expect(await losses()).toEqual([10, 9]);
});

test("our half of the protocol: gemm's contestant", async () => {
  const path = fileURLToPath(new URL("contestants/gemm.ts", import.meta.url));
  const args = ["--conditions=source", "--import", "tsx", path];
  const child = await Child.start({ name: "tenet", command: process.execPath, args }, { threads: 2 }, (c) =>
    children.push(c),
  );
  const round = await child.round();
  expect(round.flops).toBe(8 * 2 * 2048 ** 3);
  expect(round.seconds).toBeGreaterThan(0);
  expect(round.peak_rss).toBeGreaterThan(3 * 4 * 2048 ** 2);
  expect(await child.ceiling()).toBeGreaterThan(1);
});
