import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { endpointFingerprint, endpointSettings, withoutAddresses } from "./endpoint-identity.ts";
import { endpointRoleSchema } from "./schema/roles.ts";

/** As a recipe that was read has it, with its defaults. */
const role = (endpoint: string | string[], more: object = {}) =>
  endpointRoleSchema.parse({ endpoint, model: "m", ...more });
const settings = (endpoint: string | string[], more: object = {}) => endpointSettings(role(endpoint, more));
/** As a store keeps it. */
const run = (created: string, ...roles: ReturnType<typeof role>[]) => ({
  created,
  recipe: JSON.parse(JSON.stringify({ roles: Object.fromEntries(roles.map((one, i) => [i, withoutAddresses(one)])) })),
});

const [a, b, c] = ["http://a/v1", "http://b/v1", "http://c/v1"];

describe("a single address", () => {
  it("is known by all that it is asked with, as it always was", () => {
    const { budget: _, ...all } = settings(a, { budget: { tokens: 5 } });
    const before = createHash("sha256").update(JSON.stringify(all)).digest("hex");
    expect(endpointFingerprint(settings(a, { budget: { tokens: 5 } }))).toBe(before);
    // What stores of before hold: the settings in the order of the schema, the address last.
    expect(JSON.stringify(all)).toBe(
      '{"model":"m","dialect":"auto","maxTokensField":"max_tokens","samplesPerCall":"one","concurrency":8,"timeoutSeconds":120,"retries":{"perRequest":6,"total":1000,"baseSeconds":0.5,"maxSeconds":60},"headers":{},"body":{},"baseUrl":"http://a/v1"}',
    );
    expect(endpointFingerprint(settings(b))).not.toBe(endpointFingerprint(settings(a)));
  });
});

describe("a list of addresses", () => {
  it("is known by the model's name and what changes replies", () => {
    const one = endpointFingerprint(settings([a, b]));
    for (const same of [settings([b, a]), settings([c]), settings([a, b], { concurrency: 64, timeoutSeconds: 5 })])
      expect(endpointFingerprint(same)).toBe(one);
    for (const other of [
      settings([a, b], { model: "n" }),
      settings([a, b], { body: { top_k: 3 } }),
      settings([a, b], { dialect: "openai" }),
    ])
      expect(endpointFingerprint(other)).not.toBe(one);
  });

  it("takes over what a single address made before it, wherever the list leads", () => {
    const old = endpointFingerprint(settings(a, { concurrency: 3 }));
    const runs = [run("2026-01-02", role([a, b])), run("2026-01-01", role(a, { concurrency: 3 }))];
    expect(endpointFingerprint(settings([a, b]), runs)).toBe(old);
    expect(endpointFingerprint(settings([b, c]), runs)).toBe(old);
    expect(endpointFingerprint(settings([a, b], { model: "n" }), runs)).toBe(
      endpointFingerprint(settings([a, b], { model: "n" })),
    );
  });

  it("that came first stays what it is when a single address follows", () => {
    const own = endpointFingerprint(settings([a, b]));
    const runs = [run("2026-01-01", role([a, b])), run("2026-01-02", role(a))];
    expect(endpointFingerprint(settings([a, b, c]), runs)).toBe(own);
  });

  it("passes over recipes that it cannot read", () => {
    const runs = [
      { created: "2025", recipe: null },
      {
        created: "2025",
        recipe: { roles: { labeller: { endpoint: 3 }, critic: "small", judge: { endpoint: a, x: 1 } } },
      },
    ];
    expect(endpointFingerprint(settings([a]), runs)).toBe(endpointFingerprint(settings([a])));
  });

  it("makes no other run with another server", () => {
    expect(withoutAddresses(role([a, b]))).toEqual(withoutAddresses(role([c])));
    expect(withoutAddresses(role(a, { budget: { usd: 3 } }))).toEqual(role(a));
  });
});
