import { expect, it } from "vitest";
import { z } from "zod";
import { DocumentError, parseDocument } from "./index.ts";

/** A model here or a model there, as a recipe's role has it. */
const schema = z.strictObject({
  role: z.union([
    z.string(),
    z.strictObject({ model: z.string(), adapter: z.string().optional() }),
    z.strictObject({
      endpoint: z
        .url({ protocol: /^https?$/ })
        .refine((url) => !url.includes("@"), { error: "a key stands in it", params: { secret: true } }),
      model: z.string().optional(),
      concurrency: z.int().min(1).optional(),
    }),
  ]),
});

function wrongWith(role: string): string {
  try {
    parseDocument(`role: ${role}\n`, { file: "r.yaml", schema });
  } catch (error) {
    if (error instanceof DocumentError) return error.message;
    throw error;
  }
  return "nothing";
}

it.each([
  // Whose keys they are decides, not how much is wrong with them.
  ["{ endpoint: localhost:8000, model: m }", "role.endpoint: expected an address such as"],
  ["{ endpoint: localhost:8000 }", "role.endpoint: expected an address such as"],
  ["{ endpoint: htp://x, model: 7, concurrency: 0 }", "role.endpoint: expected an address such as"],
  ["{ endpoint: http://x, model: m, concurrency: many }", "role.concurrency: expected a whole number"],
  ["{ endpoint: 7, model: m }", "role.endpoint: expected text"],
  ["{ model: 7, adapter: a }", "role.model: expected text"],
  [
    "{ model: m, adaptor: a }",
    'role.adaptor: unknown key; expected one of the keys model, adapter, endpoint, concurrency. Did you mean "adapter"?',
  ],
  [
    "{ endpont: http://x, concurrency: 2 }",
    'role.endpont: unknown key; expected one of the keys model, adapter, endpoint, concurrency. Did you mean "endpoint"?',
  ],
])("%s is measured against the branch it is of", (role, message) => {
  expect(wrongWith(role)).toContain(message);
  expect(
    wrongWith(role)
      .split("\n")
      .filter((line) => line.includes("unknown key")),
  ).toHaveLength(message.includes("unknown key") ? 1 : 0);
});

it("a value that may be a secret is not repeated", () => {
  const message = wrongWith("{ endpoint: 'http://sk-0123456789abcdef@host/v1' }");
  expect(message).toContain("a key stands in it, got a text that is not shown here");
  expect(message).not.toContain("sk-");
});
