import { type Outcome, type PairRow, type PromptRow, type ResponseRow, rowId } from "@tenet/data";
import { type Constitution, parseConstitution } from "../constitution/index.ts";

/** Rows and constitutions for the tests of this folder. */

export function constitutionOf(principles: readonly object[]): Constitution {
  const text = JSON.stringify({ name: "test", version: "1", principles });
  return parseConstitution(text, { file: "test.json" }).value;
}

export function promptRow(content: string): PromptRow {
  const prompt = [{ role: "user" as const, content }];
  return { id: rowId("prompt", prompt), prompt, origin: { parents: [] } };
}

export function responseRow(content: string, response: string): ResponseRow {
  const { prompt, origin } = promptRow(content);
  return { id: rowId("response", prompt, response), prompt, response, finishReason: "stop", origin };
}

export function pairRow(content: string, a: string, b: string): PairRow {
  const { prompt, origin } = promptRow(content);
  return { id: rowId("pair", prompt, a, b), prompt, a, b, origin };
}

export async function outcomes<Row>(stage: AsyncIterable<Outcome<Row>>): Promise<Map<string, Outcome<Row>>> {
  const all = new Map<string, Outcome<Row>>();
  for await (const outcome of stage) all.set(outcome.input, outcome);
  return all;
}

/** The rows of a stage, by the content of their last user turn. */
export async function rowsByPrompt<Row extends { prompt: readonly { content: string }[] }>(
  stage: AsyncIterable<Outcome<Row>>,
): Promise<Record<string, Row>> {
  const rows = [...(await outcomes(stage)).values()].flatMap((outcome) => outcome.rows);
  return Object.fromEntries(rows.map((row) => [row.prompt.at(-1)!.content, row]));
}
