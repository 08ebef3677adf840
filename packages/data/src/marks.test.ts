import { expect, it } from "vitest";
import { spelledMarks } from "./marks.ts";

it.each([
  ["Rest.<|eot_id|>", ["<|eot_id|>"]],
  ["Rest.</s>", ["</s>"]],
  ["Rest.<end_of_turn>", ["<end_of_turn>"]],
  ["[INST] Hello [/INST] Rest.", ["[INST]", "[/INST]"]],
  ["Rest.<｜end▁of▁sentence｜>", ["<｜end▁of▁sentence｜>"]],
  ["<|im_start|>user\nIs ice wet?<|im_end|>", ["<|im_start|>", "<|im_end|>"]],
  ["Rest.[|endofturn|]", ["[|endofturn|]"]],
  ["a <|> b, x <| y |> z", []],
  ["ChatML ends a turn with `<|im_end|>`.", []],
  ["```\n<|im_end|>\n```\nThat is all.", []],
  ["A lone ` and then <|im_end|>", ["<|im_end|>"]],
  ["It costs <s>5</s> 4 euros.", []],
  ["<s>It rains.</s>", ["</s>"]],
  ["Nothing of the kind.", []],
])("marks of %j", (text, marks) => {
  expect(spelledMarks(text).map((mark) => mark.text)).toEqual(marks);
});
