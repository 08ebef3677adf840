import { APIConnectionError } from "openai";
import { describe, expect, it } from "vitest";
import { EndpointError } from "../language-model/errors.ts";
import { backOff, MalformedReply, retryAfter, understand } from "./failures.ts";
import { Refused, TooLong } from "./refusal.ts";

describe("retryAfter", () => {
  const now = Date.parse("2026-01-01T00:00:00Z");
  it.each([
    [{ "retry-after": "2" }, 2000],
    [{ "retry-after": "0.5" }, 500],
    [{ "retry-after": "Thu, 01 Jan 2026 00:00:30 GMT" }, 30_000],
    [{ "retry-after": "Wed, 31 Dec 2025 00:00:30 GMT" }, 0],
    [{ "retry-after": "7", "retry-after-ms": "250" }, 250],
    [{ "retry-after": "soon" }, undefined],
    [{}, undefined],
  ])("%j", (headers, expected) => {
    expect(retryAfter(new Headers(headers as Record<string, string>), now)).toBe(expected);
  });
});

describe("understand", () => {
  // As the client wraps what a fetch throws.
  const http = (status: number, body: unknown = { error: { message: "m" } }) =>
    new APIConnectionError({ cause: new Refused(status, body, new Headers()) });
  it.each([400, 401, 403, 404, 413, 422])("status %d is final", (status) => {
    expect(understand(http(status), false)).toMatchObject({ fault: "http", status, retryable: false });
  });
  it.each([408, 409, 429, 500, 502, 503, 504, 529])("status %d is worth another attempt", (status) => {
    expect(understand(http(status), false)).toMatchObject({ fault: "http", status, retryable: true });
  });
  it.each([
    "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
    "image input is not supported by this server",
    "this model is missing data required for image input",
    'Failed to parse messages: Unsupported content part type: "image_url"; messages = []',
  ])("a model that sees no images will not see them later: %s", (message) => {
    const body = { error: { code: 500, message, type: "server_error" } };
    expect(understand(http(500, body), false)).toMatchObject({ fault: "http", status: 500, retryable: false });
  });
  it("tells the rest apart", () => {
    expect(understand(new Error("x"), true)).toMatchObject({ fault: "timeout", retryable: true });
    expect(understand(new MalformedReply("x"), false)).toMatchObject({ fault: "malformed", retryable: true });
    expect(understand(new SyntaxError("x"), false)).toMatchObject({ fault: "malformed", retryable: true });
    expect(understand(new TypeError("terminated"), false)).toMatchObject({ fault: "network", retryable: true });
    expect(understand(new TooLong("x"), false)).toMatchObject({ fault: "malformed", retryable: false });
    const miss = new EndpointError("not recorded", { fault: "replay-miss" });
    expect(understand(new APIConnectionError({ message: "Connection error.", cause: miss }), false)).toMatchObject({
      fault: "replay-miss",
      reason: "not recorded",
      retryable: false,
    });
  });
});

describe("a server's words", () => {
  it.each([
    [{ error: { message: "no such model", code: 404 } }, "no such model"],
    [{ error: "model 'x' not found" }, "model 'x' not found"],
    [{ message: "Unauthorized" }, "Unauthorized"],
    [{ detail: "Not Found" }, "Not Found"],
    [
      { detail: [{ loc: ["body", "seed"], msg: "Extra inputs are not permitted" }] },
      "body.seed: Extra inputs are not permitted",
    ],
    [
      { error: { message: "Provider returned error", metadata: { raw: "the context is full" } } },
      "Provider returned error; the context is full",
    ],
    [
      "<!doctype html><html><head><style>b{}</style><title>Bad gateway</title></head><body><h1>502</h1></body></html>",
      "Bad gateway 502",
    ],
    ["plain words\nover lines", "plain words over lines"],
    [{ code: 7 }, '{"code":7}'],
    ["", "and says nothing"],
  ])("%j", (body, words) => {
    expect(understand(new Refused(400, body), false).reason).toBe(`status 400: ${words}`);
  });

  it("are redacted before they are cut: no part of a secret is left", () => {
    const secret = "sk-abcdefghijklmnop";
    const redact = (text: string) => text.replaceAll(secret, "***");
    const { reason } = understand(new Refused(401, `${"x".repeat(490)} ${secret}`), false, redact);
    expect(reason).not.toContain("sk-");
    expect(reason).toMatch(/\*\*\*$/);
  });
});

describe("backOff", () => {
  it("doubles up to the longest wait, less up to half", () => {
    expect([1, 2, 3, 4].map((attempt) => backOff(attempt, 100, 500, 0))).toEqual([100, 200, 400, 500]);
    expect(backOff(2, 100, 500, 1)).toBe(100);
  });
});
