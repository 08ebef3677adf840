import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";

/** The program itself, as a process of its own. */
function tenet(...args: string[]) {
  const main = fileURLToPath(new URL("main.ts", import.meta.url));
  const child = spawn(process.execPath, ["--import", "tsx", "--conditions=source", main, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const result = { stdout: "", stderr: "" };
  child.stdout.on("data", (chunk) => {
    result.stdout += chunk;
  });
  child.stderr.on("data", (chunk) => {
    result.stderr += chunk;
  });
  const ended = once(child, "close").then(([code]) => ({ code: code as number | null, ...result }));
  return { child, result, ended };
}

/** An OpenAI-compatible server that streams what it was asked, then words without end if these are to be slow. */
const server = createServer(async (request, response) => {
  if (request.method === "GET") return response.end(JSON.stringify({ data: [{ id: "echo", owned_by: "vllm" }] }));
  let body = "";
  for await (const chunk of request) body += chunk;
  const asked = JSON.parse(body).messages.at(-1).content as string;
  response.writeHead(200, { "content-type": "text/event-stream" });
  const send = (choice: object) =>
    response.write(`data: ${JSON.stringify({ choices: [{ index: 0, ...choice }] })}\n\n`);
  send({ delta: { content: `You said: ${asked}` }, finish_reason: null });
  while (asked === "slow" && !response.destroyed) {
    send({ delta: { content: " word" }, finish_reason: null });
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  send({ delta: {}, finish_reason: "stop" });
  response.write(`data: ${JSON.stringify({ choices: [], usage: { prompt_tokens: 3, completion_tokens: 4 } })}\n\n`);
  response.end("data: [DONE]\n\n");
});
let url: string;
beforeAll(async () => {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

it("prints help, and exits with 2 when called wrongly", async () => {
  const [help, wrong] = await Promise.all([tenet("--help").ended, tenet("doctr").ended]);
  expect(help).toMatchObject({ code: 0, stderr: "" });
  expect(help.stdout).toMatch(/chat[\s\S]*models[\s\S]*doctor/);
  expect(wrong).toMatchObject({ code: 2, stdout: "" });
  expect(wrong.stderr).toContain("Did you mean doctor?");
});

it("chats with an endpoint", async () => {
  const { code, stdout } = await tenet("chat", "echo", "Hello", "--endpoint", url).ended;
  expect({ code, stdout }).toEqual({ code: 0, stdout: "You said: Hello\n" });
});

it("stops at Ctrl-C with 130", async () => {
  const { child, result, ended } = tenet("chat", "echo", "slow", "--endpoint", url);
  while (!result.stdout.includes("word word") && child.exitCode === null) await new Promise((r) => setTimeout(r, 20));
  child.kill("SIGINT");
  const { code, stdout } = await ended;
  expect(code).toBe(130);
  expect(stdout).toMatch(/^You said: slow( word)+\n$/);
});
