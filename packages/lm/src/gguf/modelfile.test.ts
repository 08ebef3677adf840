import { describe, expect, it } from "vitest";
import type { TextCodec } from "../text/index.ts";
import { type ModelfileOptions, modelfile } from "./modelfile.ts";

const text = {
  endIds: new Set([2]),
  tokenText: () => "<|im_end|>",
} as Partial<TextCodec> as TextCodec;
const write = (chatTemplate: string | undefined, more: Partial<ModelfileOptions> = {}) =>
  modelfile({ model: "model-F16.gguf", chatTemplate, text, variables: {}, addsBos: false, ...more });

const chatml =
  "{% for m in messages %}{% if loop.first and m.role != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

describe("a Modelfile", () => {
  it("says the template in Go's language, with the system turn that the template writes by itself", () => {
    expect(write(chatml)).toBe(
      [
        "FROM ./model-F16.gguf",
        'TEMPLATE """{{ range .Messages }}{{ if eq .Role "system" }}<|im_start|>system',
        "{{ .Content }}<|im_end|>",
        '{{ else if eq .Role "user" }}<|im_start|>user',
        "{{ .Content }}<|im_end|>",
        '{{ else if eq .Role "assistant" }}<|im_start|>assistant',
        "{{ .Content }}<|im_end|>",
        "{{ end }}{{ end }}<|im_start|>assistant",
        '"""',
        'SYSTEM """Be kind."""',
        'PARAMETER stop "<|im_end|>"',
        "",
      ].join("\n"),
    );
  });

  it("leaves out the beginning-of-text token where the model's file has it put there", () => {
    const template = `{{ bos_token }}${chatml}`;
    const variables = { bos_token: "<s>" };
    expect(write(template, { variables, addsBos: true })).toBe(write(chatml));
    expect(write(template, { variables })).toContain('eq .Role "system" }}<s><|im_start|>system');
  });

  it("writes no template where turns do not stand side by side, and says so", () => {
    const counting =
      "{% for m in messages %}[{{ loop.index }} {{ m.role }}]{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}[reply]{% endif %}";
    for (const template of [counting, "{{ raise_exception('no') }}"]) {
      const written = write(template);
      expect(written).not.toContain("TEMPLATE");
      expect(written).toMatch(/# The chat template does more than put turns side by side/);
    }
  });

  it("says nothing of a template for a base model", () => {
    expect(write(undefined)).toBe('FROM ./model-F16.gguf\nPARAMETER stop "<|im_end|>"\n');
  });
});
