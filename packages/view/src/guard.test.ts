import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { Hono } from "hono";
import ts from "typescript";
import { expect, test } from "vitest";
import { folder, host, token } from "../test/asking.ts";
import { guard, mostBytes } from "./guard.ts";

/*
 * Each check of the guard by itself: with it what it is there for is refused, and with this one check taken out of the source, and no
 * other, it gets through. So none of them is there for show, and a test notices the loss of any.
 */

type Guard = typeof guard;
const source = readFileSync(new URL("./guard.ts", import.meta.url), "utf8");
const place = folder();

/** The guard without a line of it. */
async function without(line: string, instead: string, number: number): Promise<Guard> {
  expect(source.split(line)).toHaveLength(2);
  const { outputText } = ts.transpileModule(source.replace(line, instead), {
    compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 },
  });
  const file = join(place, `guard-${number}.mjs`);
  writeFileSync(file, outputText);
  return ((await import(/* @vite-ignore */ pathToFileURL(file).href)) as { guard: Guard }).guard;
}

function ask(use: Guard, method: "GET" | "POST", headers: Record<string, string | undefined>) {
  const app = new Hono();
  app.use(use({ hosts: () => [host], token }));
  app.all("*", (c) => c.json({ reached: true }));
  const own: Record<string, string | undefined> = { host };
  const writes = { "content-type": "application/json", "content-length": "2", "x-tenet-token": token };
  const all = Object.entries({ ...own, ...(method === "POST" && writes), ...headers });
  const given = all.filter((one): one is [string, string] => one[1] !== undefined);
  return app.request("/", { method, headers: given, ...(method === "POST" && { body: "{}" }) });
}

const checks: readonly {
  readonly of: string;
  readonly line: string;
  readonly instead?: string;
  readonly attacks: readonly ["GET" | "POST", Record<string, string | undefined>][];
  readonly status: number;
}[] = [
  {
    of: "the name that was asked for",
    line: "if (!hosts.includes(host.toLowerCase()))",
    attacks: [
      ["GET", { host: "evil.example:4747" }],
      ["POST", { host: "evil.example:4747" }],
    ],
    status: 421,
  },
  {
    of: "the site that the browser asks for",
    line: 'if (site !== undefined && site !== "same-origin" && site !== "none")',
    attacks: [
      ["GET", { "sec-fetch-site": "cross-site" }],
      ["GET", { "sec-fetch-site": "same-site" }],
    ],
    status: 403,
  },
  {
    of: "the page's origin",
    line: `if (origin !== undefined && !hosts.some((own) => origin === \`http://\${own}\`))`,
    attacks: [
      ["GET", { origin: "http://evil.example" }],
      ["POST", { origin: "null" }],
    ],
    status: 403,
  },
  {
    of: "the body's type",
    line: 'if (!/^application\\/json\\b/i.test(req.header("content-type") ?? ""))',
    attacks: [
      ["POST", { "content-type": "text/plain" }],
      ["POST", { "content-type": undefined }],
    ],
    status: 415,
  },
  {
    of: "the body's length",
    line: 'if (!(Number(req.header("content-length")) <= mostBytes))',
    attacks: [
      ["POST", { "content-length": `${mostBytes + 1}` }],
      ["POST", { "content-length": undefined }],
    ],
    status: 413,
  },
  {
    of: "the token",
    line: 'if (!same(req.header("x-tenet-token") ?? "", token))',
    attacks: [
      ["POST", { "x-tenet-token": undefined }],
      ["POST", { "x-tenet-token": `${token}x` }],
    ],
    status: 403,
  },
];

for (const [i, { of, line, instead = "if (false)", attacks, status }] of checks.entries())
  test(`without looking at ${of}, what it refuses gets through`, async () => {
    const open = await without(line, instead, i);
    for (const [method, headers] of attacks) {
      expect((await ask(guard, method, headers)).status).toBe(status);
      expect((await ask(open, method, headers)).status).toBe(200);
      // Nothing else was opened: what the other checks are for is refused as before.
      for (const other of checks)
        if (other.of !== of)
          for (const [how, more] of other.attacks) expect((await ask(open, how, more)).status).toBe(other.status);
    }
  });

const headers = [
  ["content-security-policy", "policy"],
  ["x-content-type-options", '"nosniff"'],
  ["referrer-policy", '"no-referrer"'],
  ["cross-origin-opener-policy", '"same-origin"'],
  ["cross-origin-resource-policy", '"same-origin"'],
  ["cache-control", '"no-store"'],
] as const;

for (const [i, [name, value]] of headers.entries())
  test(`answers and refusals carry ${name}, by one line and no other`, async () => {
    const bare = await without(`set("${name}", ${value});`, "", checks.length + i);
    for (const [method, more] of [
      ["GET", {}],
      ["GET", { host: "evil.example" }],
    ] as const) {
      expect((await ask(guard, method, more)).headers.has(name)).toBe(true);
      expect((await ask(bare, method, more)).headers.has(name)).toBe(false);
    }
  });
