import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { Asking, host, token } from "../test/asking.ts";

const asking = new Asking({ prompts: 6, done: 1 });
afterAll(() => asking.close());
const [run] = asking.written.done as [string];
const note = { who: "ann", note: { tags: ["x"] } };

const status = async (path: string, headers: Record<string, string>) =>
  (await asking.request(path, { headers })).status;
const sendStatus = async (headers: Record<string, string>) =>
  (await asking.send(`/api/runs/${run}/note`, note, headers)).status;

test("only names of this machine are answered to: a name that somebody else's server resolves to it is not", async () => {
  for (const good of [host, "localhost:4747", "LOCALHOST:4747"])
    expect(await status("/api/runs", { host: good })).toBe(200);
  for (const bad of ["evil.example", "127.0.0.1", "127.0.0.1:80", "localhost.evil.example:4747", "[::1]:4747"])
    expect([bad, await status("/api/runs", { host: bad })]).toEqual([bad, 421]);
});

test("pages of other sites are refused, reading and writing", async () => {
  for (const site of ["cross-site", "same-site"]) {
    expect(await status("/api/runs", { "sec-fetch-site": site })).toBe(403);
    expect(await sendStatus({ "sec-fetch-site": site })).toBe(403);
  }
  for (const origin of ["http://evil.example", "https://127.0.0.1:4747", "http://127.0.0.1:80", "null"]) {
    expect([origin, await status("/api/runs", { origin })]).toEqual([origin, 403]);
    expect(await sendStatus({ origin })).toBe(403);
  }
  for (const site of ["same-origin", "none"]) expect(await status("/api/runs", { "sec-fetch-site": site })).toBe(200);
  expect(await sendStatus({ origin: `http://${host}`, "sec-fetch-site": "same-origin" })).toBe(200);
  const response = await asking.request("/api/runs", { headers: { origin: `http://${host}` } });
  expect([...response.headers.keys()].filter((name) => name.startsWith("access-control"))).toEqual([]);
});

test("who writes shows the page's token", async () => {
  for (const bad of ["", "x", token.slice(1), `${token}x`, token.toUpperCase()])
    expect([bad, await sendStatus({ "x-tenet-token": bad })]).toEqual([bad, 403]);
  expect(await sendStatus({})).toBe(200);
});

test("a write is JSON, and of a size that is told", async () => {
  for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
    expect(await sendStatus({ "content-type": type })).toBe(415);
  expect(await sendStatus({ "content-length": "1000001" })).toBe(413);
  const unsaid = await asking.request(`/api/runs/${run}/note`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-tenet-token": token },
    body: JSON.stringify(note),
  });
  expect(unsaid.status).toBe(413);
});

test("every answer forbids scripts of others, guessing of types, and referrers; refusals too", async () => {
  const answers = [
    await asking.request("/api/runs"),
    await asking.request("/api/none"),
    await asking.request("/api/runs", { headers: { host: "evil.example" } }),
    await asking.request(`/reports/${run}`),
  ];
  for (const { headers } of answers) {
    const policy = headers.get("content-security-policy")!;
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).not.toContain("unsafe");
    expect(headers.get("x-content-type-options")).toBe("nosniff");
    expect(headers.get("referrer-policy")).toBe("no-referrer");
    expect(headers.get("cross-origin-resource-policy")).toBe("same-origin");
  }
  const report = await asking.request(`/reports/${run}`);
  const [, style] = /<style>([\s\S]*?)<\/style>/.exec(await report.text())!;
  const hash = createHash("sha256").update(style!).digest("base64");
  expect(report.headers.get("content-security-policy")).toContain(`style-src 'sha256-${hash}'`);
});

test("no path leads out of what is served", async () => {
  const places = [
    "/../package.json",
    "/assets/../../package.json",
    "/%2e%2e/package.json",
    "/..%2fpackage.json",
    "/reports/..%2f..%2fetc%2fpasswd",
    "/reports/%00",
    "/api/rows/..%2f..",
    "/etc/passwd",
    "/store.db",
    "/artifacts/x",
  ];
  for (const place of places) {
    const response = await asking.request(place);
    expect([place, response.status]).toEqual([place, 404]);
    expect(response.headers.get("content-type")).toContain("json");
  }
});

test("nothing of the environment is told, on any route, nor in an error", async () => {
  const canary = "canary-5f1d09c4";
  process.env.OPENAI_API_KEY = canary;
  process.env.TENET_CANARY = canary;
  try {
    const { id: queue } = await asking.post<{ id: string }>("/api/queues", { name: "q", run, size: 2, who: "ann" });
    const names: Record<string, string> = {
      run,
      stage: "chains",
      hash: "none",
      queue,
      set: "none",
      id: "none",
      name: "none",
    };
    const filled = (path: string) =>
      path.replaceAll(/:(\w+)/g, (_, name: string) => encodeURIComponent(names[name] ?? "none"));
    const told = async (path: string, response: Response) => {
      expect([path, (await response.text()).includes(canary)]).toEqual([path, false]);
      expect(JSON.stringify([...response.headers])).not.toContain(canary);
    };
    // Every route that there is, as it is registered, and its errors; a stream does not end by itself.
    const asked = asking.routes.filter(({ path }) => !path.includes("*") && !path.endsWith("/stream"));
    expect(asked.length).toBeGreaterThan(40);
    for (const { method, path } of asked)
      await told(path, method === "GET" ? await asking.request(filled(path)) : await asking.send(filled(path), {}));
    const paths = [
      "/",
      "/api/none",
      `/api/compare?runs=${run},${asking.written.failed}`,
      `/api/runs/${run}/samples?limit=0`,
    ];
    for (const path of paths) await told(path, await asking.request(path));
  } finally {
    delete process.env.OPENAI_API_KEY;
    delete process.env.TENET_CANARY;
  }
});

test("read only, no route writes, and not a byte of the store changes", async () => {
  const reading = new Asking({ prompts: 4, done: 1, readOnly: true });
  reading.written.running.end("interrupted");
  reading.written.store.close();
  const before = bytesOf(reading.folder);
  const [id] = reading.written.done;
  const samples = await reading.get<{ samples: { replies: { row: string }[] }[] }>(`/api/runs/${id}/samples`);
  const row = samples.samples[0]!.replies[0]!.row;
  const writes: [string, unknown][] = [
    [`/api/runs/${id}/note`, note],
    [`/api/runs/${id}/stop`, {}],
    ["/api/annotations", { row, kind: "flag", value: true, who: "ann" }],
    ["/api/labels", { pair: row, p: 1, who: "ann" }],
    ["/api/queues", { name: "q", run: id, who: "ann" }],
    ["/api/queues/q/answers", {}],
    ["/api/queues/q/undo", {}],
  ];
  for (const [path, body] of writes) expect([path, (await reading.send(path, body)).status]).toEqual([path, 404]);
  // What is asked in a body and changes nothing is answered.
  expect((await reading.send("/api/what-if", { run: id, text: "x: 1" })).status).toBe(400);
  await reading.get(`/api/runs/${id}/samples/counts`);
  await reading.get(`/api/rows/${row}`);
  expect(bytesOf(reading.folder)).toEqual(before);
});

/** Every file's hash, the log's too. The index that readers of a log share (-shm) holds no data and is theirs to write. */
function bytesOf(folder: string, below = ""): Record<string, string> {
  return Object.assign(
    {},
    ...readdirSync(join(folder, below)).map((name) => {
      const path = join(below, name);
      if (statSync(join(folder, path)).isDirectory()) return bytesOf(folder, path);
      if (name.endsWith("-shm")) return {};
      return {
        [path]: createHash("sha256")
          .update(readFileSync(join(folder, path)))
          .digest("hex"),
      };
    }),
  );
}
