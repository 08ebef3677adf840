import type { Message } from "../src/language-model/index.ts";

const asked = [
  "Hello there",
  "12 × 34?\n\nNaïve 🌊",
  "don't\tSTOP now",
  "  two spaces before, one after ",
  "日本語と한국어, и кириллица",
  "< | im_end | > in pieces",
  "1,234,567.89 + 0x1F — “quoted”\r\n",
  "def f(x):\n    return {'a': [x ** 2]}",
  "e\u0301 é ﬁ ½ Ⅷ 👩‍👩‍👧",
  "A?",
];
const answered = ["It is 408.", "", "Yes.\n\n- one\n- two", "…"];
const systems = [undefined, "Be brief.", "You answer in verse.\nAlways."];

/** Fifty conversations on which tokenizers and templates fall out: of one to five turns, with and without a system's word. */
export const dialogues: readonly Message[][] = Array.from({ length: 50 }, (_, i) => {
  const system = systems[i % systems.length];
  const turns = 1 + (i % 3);
  const said = Array.from({ length: turns }, (_, turn): Message[] => [
    { role: "user", content: asked[(i + 3 * turn) % asked.length]! },
    ...(turn < turns - 1
      ? [{ role: "assistant" as const, content: `${answered[(i + turn) % answered.length]} (${i})` }]
      : []),
  ]);
  return [...(system === undefined ? [] : [{ role: "system" as const, content: system }]), ...said.flat()];
});
