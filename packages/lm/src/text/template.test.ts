import { describe, expect, it } from "vitest";
import type { Message } from "../language-model/types.ts";
import { ChatTemplateError, renderChat } from "./index.ts";

const messages: Message[] = [
  { role: "user", content: "What is a tenet?" },
  { role: "assistant", content: "A principle." },
  { role: "user", content: " Name one. " },
];
const render = (template: string, given = messages) => renderChat(template, given);
const grow = (step: string, rounds = 60, first = "'xxxxxxxxxxxxxxxx'") =>
  `{% set ns = namespace(s=${first}) %}{% for i in range(${rounds}) %}{% set ns.s = ${step} %}{% endfor %}`;

describe("a template is read as Jinja", () => {
  it("sees messages, the generation prompt and the variables, and no clock", () => {
    const template =
      "{{ bos_token }}{% for m in messages %}{{ m.role[0] }}{% endfor %}{{ strftime_now('%d %b %Y, %A') }}";
    expect(renderChat(template, messages, { variables: { bos_token: "<s>" } })).toBe("<s>uau26 Jul 2024, Friday");
    const date = new Date(2026, 0, 5);
    expect(renderChat("{{ strftime_now('%Y-%m-%d') }}", messages, { date })).toBe("2026-01-05");
    expect(renderChat("{{ add_generation_prompt }}", messages, { addGenerationPrompt: true })).toBe("True");
  });

  // What transformers' own Jinja2 (3.1.6) writes.
  it.each([
    [
      "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% if m.role=='user' %}{% continue %}{% endif %}</s>{% endfor %}",
      "<user>hi<assistant>yo</s><user>bye",
    ],
    [
      "{% for m in messages %}{{ m.content }};{% if m.role == 'assistant' %}{% break %}{% endif %}.{% else %}none{% endfor %}!",
      "hi;.yo;!",
    ],
    [
      "{% for m in messages %}{% for n in [1, 2, 3] %}{% if n == 2 %}{% break %}{% endif %}{{ n }}{% endfor %}{{ m.content }}{% endfor %}",
      "1hi1yo1bye",
    ],
    ["{% for m in [] %}x{% else %}none{% endfor %}", "none"],
    ["{% set x = 1 %}{% for m in messages %}{% set x = x + 1 %}{{ x }}{% endfor %}{{ x }}", "2221"],
    [
      "{% set seen = false %}{% for m in messages %}{% if not seen %}H{% set seen = true %}{% endif %}{{ m.content }}{% endfor %}",
      "HhiHyoHbye",
    ],
    [
      "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{{ ns.n }}{% endfor %}{{ ns.n }}",
      "1233",
    ],
    ["{{ (0 - 1) % 2 }} {{ 5 % -3 }} {{ 5.5 % 2 }} {{ 7 % 3 }}", "1 -1 1.5 1"],
    [
      "{{ '1' == 1 }} {{ messages[0].foo == none }} {{ [1, 2] == [1, 2] }} {{ {'a': 1} == {'a': 1} }} {{ [] != [] }} {{ 1 == true }} {{ 1 == 1.0 }}",
      "False False True True False True True",
    ],
    ["{{ [1] in [[1], [2]] }} {{ 'a' in 'abc' }} {{ 'z' not in ['y'] }} {{ '1' in [1] }}", "True True True False"],
    ["{{ true }} {{ none }} {{ false }}{{ undefined_thing }}", "True None False"],
  ])("writes what Jinja2 does of %j", (template, written) => {
    const said = (role: "user" | "assistant", content: string) => ({ role, content });
    expect(render(template, [said("user", "hi"), said("assistant", "yo"), said("user", "bye")])).toBe(written);
  });

  it("tells days and hours by Python's directives, and refuses others", () => {
    const date = new Date(2026, 1, 5, 0, 7, 9);
    expect(renderChat("{{ strftime_now('%-d %e %-m %j %F %T %I %p %%') }}", messages, { date })).toBe(
      "5  5 2 036 2026-02-05 00:07:09 12 AM %",
    );
    for (const format of ["%w", "%x", "%", "%-j"])
      expect(() => render(`{{ strftime_now('${format}') }}`)).toThrow(/strftime_now knows no/);
  });

  it("renders no image, not even as nothing", () => {
    const shown: Message[] = [{ role: "user", content: "What is it?", images: ["data:image/png;base64,iVBORw0KGgo="] }];
    expect(() => render("{{ messages[0].content }}", shown)).toThrow(ChatTemplateError);
    expect(() => render("{{ messages[0].content }}", shown)).toThrow("this is a model of text, which sees none");
  });

  it("strips as Python does", () => {
    expect(render("{{ '\\nab\\n'.strip('\\n') }}|{{ ' \\nab '.lstrip('\\n') }}|{{ 'ab\\n\\n '.rstrip() }}")).toBe(
      "ab| \nab |ab",
    );
    const content = "\u0085\u001c a\ufeff";
    expect(render("{{ messages[0].content | trim }}", [{ role: "user", content }])).toBe("a\ufeff");
  });

  it("passes on what raise_exception says", () => {
    expect(() => render("{{ raise_exception('no system turn here') }}")).toThrow("no system turn here");
    expect(() => render("{% if %}")).toThrow(ChatTemplateError);
  });

  it("reaches nothing but what it is given", () => {
    expect(render("{{ messages[0].__proto__ }}{{ messages[0]['constructor'] }}{{ raise_exception.constructor }}")).toBe(
      "",
    );
    for (const template of ["{{ ''.constructor.constructor('return process')() }}", "{% include 'config.json' %}"])
      expect(() => render(template)).toThrow(ChatTemplateError);
    expect(render("{{ process is defined }}{{ globalThis is defined }}{{ require is defined }}")).toBe(
      "FalseFalseFalse",
    );
  });
});

describe("a hostile template ends soon, with a clear error", () => {
  const templates: Record<string, string> = {
    "nested loops": "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
    "loops over what it made": "{% set r = range(100000) %}{% for i in r %}{% for j in r %}{% endfor %}{% endfor %}",
    "an endless range": "{{ range(4000000000) | length }}",
    "a doubling string": `${grow("ns.s ~ ns.s")}{{ ns.s }}`,
    "a doubling list": `${grow("ns.s + ns.s", 60, "[1, 2]")}{{ ns.s | length }}`,
    "a list that holds itself twice, written out": `${grow("[ns.s, ns.s]")}{{ ns.s | tojson }}`,
    "an object that holds itself twice": `${grow("{'a': ns.s, 'b': ns.s}")}{{ ns.s ~ '' }}`,
    "a namespace in itself": "{% set a = namespace(s=1) %}{% set a.s = a %}{{ a | tojson }}",
    "wide indents": "{{ 'a\nb' | indent(900000000) }}",
    "wide indents, computed": "{{ messages | tojson(indent=30000 * 30000) }}",
    "a replacement by long strings": `${grow("ns.s ~ ns.s", 13)}{{ ns.s | replace('x', ns.s) | length }}`,
    "a search for long strings": `${grow("ns.s ~ ns.s", 13)}{% for i in range(9999) %}{{ ('y' ~ ns.s) in ns.s }}{% endfor %}`,
    "a macro without end":
      "{% macro f(n) %}{{ g(g) }}{{ caller }}{% endmacro %}{% set g = f %}{{ f(f) }}{{ (f(1) ~ f(2)).x() }}",
    "deep nesting": `{{ ${"(".repeat(20_000)}1${")".repeat(20_000)} }}`,
    "a run of spaces": `{{ 1 }}${" ".repeat(40_000)}x`,
    "too much text": "x".repeat(60_000),
  };
  for (const [name, template] of Object.entries(templates))
    it(name, () => {
      const before = performance.now();
      expect(() => render(template)).toThrow(ChatTemplateError);
      // Milliseconds to half a second on an idle machine.
      expect(performance.now() - before).toBeLessThan(30_000);
    });

  it("namespaces that hold each other twice", () => {
    const chain = Array.from({ length: 60 }, (_, i) => `{% set n${i + 1} = namespace(a=n${i}, b=n${i}) %}`).join("");
    expect(() => render(`{% set n0 = namespace(s=1) %}${chain}{{ n60 | tojson }}`)).toThrow(/namespace inside/);
  });

  it("while long conversations render", () => {
    const turns = Array.from(
      { length: 2000 },
      (_, i): Message => ({ role: i % 2 ? "assistant" : "user", content: "word ".repeat(50) }),
    );
    const chatml =
      "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] | trim + '<|im_end|>\n' }}{% endfor %}";
    expect(render(chatml, turns)).toHaveLength(
      turns.reduce((sum, { role }) => sum + role.length + 249 + 12 + 1 + 10 + 1, 0),
    );
    const long = [{ role: "user" as const, content: "long ".repeat(400_000) }];
    expect(render(chatml, long).length).toBeGreaterThan(1_999_999);
  });
});
