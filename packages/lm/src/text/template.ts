import { Environment, Interpreter, Template } from "@huggingface/jinja";
import { imagesOf, withoutImages } from "@tenet/data";
import type { Message } from "../language-model/types.ts";
import { ChatTemplateError, EndlessTemplateError } from "./errors.ts";
import { strip } from "./strip.ts";

export interface RenderOptions {
  /** Open the assistant's turn after the last message. */
  addGenerationPrompt?: boolean;
  /** What the template may read besides the messages: bos_token, eos_token … */
  variables?: Record<string, string | number | boolean | null>;
  /** What `strftime_now` shows. The default is a fixed day, so that a prompt does not depend on when it is made. */
  date?: Date;
}

/** The library's declarations do not resolve under NodeNext; this is what is used of them. */
interface Value {
  type: string;
  value: unknown;
}
type Statement = { type: string } | undefined;
interface Interpreting {
  run(program: unknown): Value;
  evaluate(statement: Statement, environment: unknown): Value;
  evaluateBlock(statements: readonly Statement[], environment: unknown): Value;
  evaluateFor(node: Node, environment: unknown): Value;
  evaluateBinaryExpression(node: Node, environment: unknown): Value;
}
/** Names and what they stand for; what is set there is seen there and in scopes inside. */
const Scope = Environment as unknown as new (
  outer?: unknown,
) => {
  set(name: string, value: unknown): void;
  lookupVariable(name: string): Value;
};
const JinjaInterpreter = Interpreter as unknown as new (environment: unknown) => Interpreting;

/** A node of the parsed template, as far as it is looked at here. */
type Node = Record<string, unknown> & { type?: string };

/** Far above any published template (Qwen3's has 4 thousand characters). */
const LONGEST_TEMPLATE = 50_000;
/** The default of Llama 3.1's own template. */
const FIXED_DATE = new Date(2024, 6, 26);

/**
 * Renders a chat template (Jinja, as Hugging Face's `apply_chat_template`) over a conversation.
 *
 * The template may come from anywhere: it sees the messages and `variables`, nothing else, and its work is counted. Every
 * evaluated expression costs a unit, large intermediate values more, and the allowance grows with the conversation, so
 * that a template that loops or explodes ends in the same place on every machine, within seconds. (A worker thread
 * with limits would not do: a single allocation above its heap limit ends the whole process.)
 * Errors: ChatTemplateError for a template that does not parse, calls `raise_exception`, or works too much, and for a conversation that shows an
 * image, which no text stands for.
 *
 * @example
 * renderChat("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}", [{ role: "user", content: "Hi" }]);
 * // "<user>Hi"
 */
export function renderChat(template: string, messages: readonly Message[], options: RenderOptions = {}): string {
  const { addGenerationPrompt = false, variables = {}, date = FIXED_DATE } = options;
  if (imagesOf(messages).length > 0)
    throw new ChatTemplateError(
      "the conversation shows an image, and this is a model of text, which sees none: ask one behind an endpoint that does",
    );
  try {
    const parsed = parse(template);
    const environment = new Scope();
    const globals = {
      ...constants,
      range,
      strftime_now: (format: unknown) => strftime(date, String(format)),
      ...variables,
      messages: withoutImages(messages),
      add_generation_prompt: addGenerationPrompt,
      tools: null,
      documents: null,
    };
    for (const [name, value] of Object.entries(globals)) environment.set(name, value);
    const characters = messages.reduce((sum, { content }) => sum + content.length, 0);
    return String(new BoundedInterpreter(environment, parsed, messages.length, characters).run(parsed.program).value);
  } catch (error) {
    if (error instanceof ChatTemplateError) throw error;
    const endless = error instanceof RangeError;
    const reason = endless ? "it nests or grows without end" : error instanceof Error ? error.message : String(error);
    throw new ChatTemplateError(`chat template: ${reason}`, { cause: error });
  }
}

/** `break` or `continue`, with what was written of the iteration. */
class LoopControl extends Error {
  written = "";
  readonly ends: boolean;

  constructor(ends: boolean) {
    super("break or continue outside of a loop");
    this.ends = ends;
  }
}

/** The library's interpreter with its work counted, and where it departs from Jinja2 in what templates rely on, as Jinja2 has it. */
class BoundedInterpreter extends JinjaInterpreter {
  readonly #parsed: Parsed;
  /** Loops under way, the innermost last, and whether a `break` ended them. */
  readonly #loops: { readonly body: unknown; ended: boolean }[] = [];
  /** A unit is at most a few microseconds of work; a template uses about ten for a message. */
  #units: number;
  readonly #longest: number;
  /** Of the strings met so far. */
  #length = 0;
  readonly #sizes = new WeakMap<object, number>();

  constructor(environment: unknown, parsed: Parsed, messages: number, characters: number) {
    super(environment);
    this.#parsed = parsed;
    this.#units = 300_000 + 2000 * messages + 4 * characters;
    this.#longest = 200_000 + 200 * messages + 8 * characters;
  }

  override evaluate(statement: Statement, environment: unknown): Value {
    this.#spend(1);
    if (statement?.type === "Evaluated") return (statement as unknown as { value: Value }).value;
    if (statement?.type === "Break" || statement?.type === "Continue")
      throw new LoopControl(statement.type === "Break");
    const value = this.#strip(statement as Node | undefined, environment) ?? super.evaluate(statement, environment);
    if (value.type === "StringValue") {
      const { length } = value.value as string;
      if (length > 64) this.#weigh(length, statement);
    } else if (value.type === "NamespaceValue") this.#sizeOf(value);
    else if (value.type === "ArrayValue" || value.type === "TupleValue" || value.type === "ObjectValue") {
      const { length = 0, size = length } = value.value as { length?: number; size?: number };
      this.#spend(this.#parsed.iterated.has(statement) ? size : size / 8);
      // What a variable holds was measured when it was made; the loop's own variables are made anew each time.
      if (statement?.type !== "Identifier") this.#sizeOf(value);
    } else if (
      value.type === "IntegerValue" &&
      Math.abs(value.value as number) > 1000 &&
      this.#parsed.needles.has(statement)
    )
      throw new ChatTemplateError(`chat template: a filter is given the number ${value.value}`);
    return value;
  }

  override evaluateFor(node: Node, environment: unknown): Value {
    this.#loops.push({ body: node.body, ended: false });
    try {
      return super.evaluateFor(node, environment);
    } finally {
      this.#loops.pop();
    }
  }

  /**
   * Each iteration of a loop begins with what was set before the loop, and one that ends early keeps what it wrote; the library has one scope for
   * all of them, and throws that away. Values are written as Python has them: True, False, None.
   */
  override evaluateBlock(statements: readonly Statement[], environment: unknown): Value {
    const loop = this.#loops.at(-1);
    const iteration = loop !== undefined && loop.body === statements;
    const scope = iteration ? new Scope(environment) : environment;
    let written = "";
    try {
      if (!iteration || !loop.ended)
        for (const statement of statements) written += textOf(this.evaluate(statement, scope), statement);
    } catch (error) {
      if (!(error instanceof LoopControl)) throw error;
      error.written = written + error.written;
      if (!iteration) throw error;
      written = error.written;
      loop.ended = error.ends;
    }
    return new StringValue(written);
  }

  /** Remainders, equality and membership as in Python. */
  override evaluateBinaryExpression(node: Node, environment: unknown): Value {
    const operator = String((node.operator as Node).value);
    if (!["%", "==", "!=", "in", "not in"].includes(operator)) return super.evaluateBinaryExpression(node, environment);
    const [left, right] = [node.left, node.right].map((side) => this.evaluate(side as Statement, environment)) as [
      Value,
      Value,
    ];
    if (operator === "==" || operator === "!=")
      return new BooleanValue(this.#equal(left, right) === (operator === "=="));
    if (operator.endsWith("in") && right.type === "ArrayValue") {
      const found = (right.value as Value[]).some((element) => this.#equal(left, element));
      return new BooleanValue(found === (operator === "in"));
    }
    if (operator === "%" && isNumber(left) && isNumber(right)) {
      const [a, b] = [left.value as number, right.value as number];
      if (b === 0) throw new Error("remainder of a division by 0");
      const whole = left.type === "FloatValue" ? left : right;
      return new (whole.constructor as new (value: number) => Value)(((a % b) + b) % b);
    }
    const evaluated = (value: Value) => ({ type: "Evaluated", value });
    return super.evaluateBinaryExpression({ ...node, left: evaluated(left), right: evaluated(right) }, environment);
  }

  #equal(one: Value, other: Value): boolean {
    this.#spend(1);
    const [a, b] = [one.value, other.value];
    if (isNumber(one) || one.type === "BooleanValue")
      return (isNumber(other) || other.type === "BooleanValue") && Number(a) === Number(b);
    if (one.type !== other.type) return false;
    if (Array.isArray(a) && Array.isArray(b))
      return a.length === b.length && a.every((element, i) => this.#equal(element as Value, b[i] as Value));
    if (a instanceof Map && b instanceof Map)
      return a.size === b.size && [...a].every(([key, value]) => b.has(key) && this.#equal(value, b.get(key)));
    return a === b;
  }

  /** `strip`, `lstrip`, `rstrip` and `trim` as in Python: the library knows neither their argument nor all of its spaces. */
  #strip(node: Node | undefined, environment: unknown): Value | undefined {
    const { callee, filter } = (node ?? {}) as { callee?: Node; filter?: Node };
    let ends: "both" | "start" | "end" | undefined;
    let operand: unknown;
    let args: unknown;
    if (node?.type === "CallExpression" && callee?.type === "MemberExpression" && !callee.computed) {
      ends = STRIPPING.get(String((callee.property as Node).value));
      [operand, args] = [callee.object, node.args];
    } else if (
      node?.type === "FilterExpression" &&
      ((filter?.callee as Node | undefined) ?? filter)?.value === "trim"
    ) {
      ends = "both";
      [operand, args] = [node.operand, filter?.args];
    }
    if (!ends) return undefined;
    const text = this.evaluate(operand as Statement, environment);
    if (text.type !== "StringValue") throw new Error(`cannot strip ${text.type}`);
    const [argument] = (args ?? []) as Node[];
    const given = argument?.type === "KeywordArgumentExpression" ? argument.value : argument;
    const characters = given === undefined ? undefined : this.evaluate(given as Statement, environment);
    const stripped = strip(
      text.value as string,
      ends,
      characters?.type === "StringValue" ? (characters.value as string) : undefined,
    );
    return new (text.constructor as new (value: string) => Value)(stripped);
  }

  #weigh(length: number, statement: Statement): void {
    if (length > this.#longest) throw this.#tooMuch();
    this.#length = Math.max(this.#length, length);
    // Searching for and replacing by long strings costs the product of both lengths.
    const factor = this.#parsed.needles.has(statement) && length > 256 ? this.#length : 1;
    this.#spend((length / 64) * factor);
  }

  /** Characters and elements of a value written out: short lists that hold each other write out to endless ones. */
  #sizeOf(value: Value, inside = false): number {
    if (value.type === "StringValue") return (value.value as string).length;
    if (typeof value.value !== "object" || value.value === null) return 1;
    const namespace = value.type === "NamespaceValue";
    // These can change after they were measured.
    if (namespace && inside) throw new ChatTemplateError("chat template: a namespace inside another value");
    const known = namespace ? undefined : this.#sizes.get(value);
    if (known !== undefined) return known;
    let size = 1;
    for (const element of (value.value as Value[] | Map<string, Value>).values()) size += this.#sizeOf(element, true);
    if (size > 2 * this.#longest) throw this.#tooMuch();
    if (!namespace) this.#sizes.set(value, size);
    return size;
  }

  #spend(units: number): void {
    this.#units -= units;
    if (this.#units < 0) throw this.#tooMuch();
  }

  #tooMuch(): ChatTemplateError {
    return new EndlessTemplateError(
      "chat template: it does more work than a conversation of this length can need; it loops or grows without end. Use the template that the model's publisher gives.",
    );
  }
}

const isNumber = ({ type }: Value) => type === "IntegerValue" || type === "FloatValue";

/** The library's class for values of a kind, which it does not export. */
function classOf<T extends string | boolean>(value: T): new (value: T) => Value {
  const scope = new Scope();
  scope.set("value", value);
  return scope.lookupVariable("value").constructor as new (
    value: T,
  ) => Value;
}

const StringValue = classOf<string>("");
const BooleanValue = classOf<boolean>(true);

/** Statements that write nothing, whatever they evaluate to. */
const silent = new Set(["Set", "Macro", "Comment"]);

/** What a statement writes. */
function textOf(value: Value, statement: Statement): string {
  if (value.type === "UndefinedValue" || silent.has(statement?.type ?? "")) return "";
  if (value.type === "NullValue") return "None";
  if (value.type === "BooleanValue") return value.value ? "True" : "False";
  return String(value);
}

const STRIPPING = new Map([
  ["strip", "both"],
  ["lstrip", "start"],
  ["rstrip", "end"],
] as const) as ReadonlyMap<string, "both" | "start" | "end">;

interface Parsed {
  program: unknown;
  /** Nodes whose value is searched for, or given to a filter: long ones are costly. */
  needles: ReadonlySet<unknown>;
  /** Nodes whose elements a loop goes through. */
  iterated: ReadonlySet<unknown>;
}

const cache = new Map<string, Parsed>();

function parse(template: string): Parsed {
  const known = cache.get(template);
  if (known) return known;
  if (template.length > LONGEST_TEMPLATE)
    throw new ChatTemplateError(
      `chat template: ${template.length} characters; more than ${LONGEST_TEMPLATE} are not read`,
    );
  // The lexer takes the square of their length.
  if (/\s{2000}/.test(template)) throw new ChatTemplateError("chat template: a run of more than 2000 spaces");
  const program = new Template(template).parsed;
  const [needles, iterated] = [new Set<unknown>(), new Set<unknown>()];
  collect(program, needles, iterated);
  if (cache.size >= 32) cache.delete(cache.keys().next().value!);
  const entry = { program, needles, iterated };
  cache.set(template, entry);
  return entry;
}

function collect(node: unknown, needles: Set<unknown>, iterated: Set<unknown>): void {
  if (Array.isArray(node)) for (const child of node) collect(child, needles, iterated);
  else if (node instanceof Map) collect([...node.entries()].flat(), needles, iterated);
  else if (node !== null && typeof node === "object") {
    const { type, operator, left, filter, callee, args, iterable } = node as Node;
    if (type === "For")
      iterated.add((iterable as Node).type === "SelectExpression" ? (iterable as Node).lhs : iterable);
    if (type === "BinaryExpression" && String((operator as Node | undefined)?.value).endsWith("in")) needles.add(left);
    if (type === "FilterExpression" || type === "FilterStatement") addArguments((filter as Node).args, needles);
    if (type === "CallExpression" && (callee as Node).type === "MemberExpression") addArguments(args, needles);
    for (const child of Object.values(node)) if (typeof child === "object") collect(child, needles, iterated);
  }
}

function addArguments(args: unknown, needles: Set<unknown>): void {
  for (const argument of (args ?? []) as Node[])
    needles.add(argument.type === "KeywordArgumentExpression" ? argument.value : argument);
}

const constants = {
  true: true,
  false: false,
  none: null,
  True: true,
  False: false,
  None: null,
  raise_exception(message: unknown): never {
    throw new ChatTemplateError(`the chat template refuses the conversation: ${String(message).slice(0, 1000)}`);
  },
};

function range(first: unknown, last?: unknown, step: unknown = 1): number[] {
  const [from, to] = last === undefined ? [0, first] : [first, last];
  if (![from, to, step].every(Number.isSafeInteger) || step === 0)
    throw new ChatTemplateError("chat template: range() takes whole numbers and a step that is not 0");
  const [start, by] = [from as number, step as number];
  const count = Math.max(0, Math.ceil(((to as number) - start) / by));
  if (count > 100_000) throw new ChatTemplateError(`chat template: range() of ${count} numbers`);
  return Array.from({ length: count }, (_, i) => start + i * by);
}

/** English whatever the machine's language, so that a prompt is the same everywhere. */
function strftime(date: Date, format: string): string {
  const two = (n: number) => String(n).padStart(2, "0");
  const name = (options: Intl.DateTimeFormatOptions) => new Intl.DateTimeFormat("en-US", options).format(date);
  const parts: Record<string, () => string> = {
    "%Y": () => String(date.getFullYear()),
    "%y": () => two(date.getFullYear() % 100),
    "%m": () => two(date.getMonth() + 1),
    "%d": () => two(date.getDate()),
    "%-d": () => String(date.getDate()),
    "%e": () => String(date.getDate()).padStart(2),
    "%-m": () => String(date.getMonth() + 1),
    "%j": () => String(dayOfYear(date)).padStart(3, "0"),
    "%F": () => strftime(date, "%Y-%m-%d"),
    "%T": () => strftime(date, "%H:%M:%S"),
    "%I": () => two(date.getHours() % 12 || 12),
    "%p": () => (date.getHours() < 12 ? "AM" : "PM"),
    "%B": () => name({ month: "long" }),
    "%b": () => name({ month: "short" }),
    "%A": () => name({ weekday: "long" }),
    "%a": () => name({ weekday: "short" }),
    "%H": () => two(date.getHours()),
    "%M": () => two(date.getMinutes()),
    "%S": () => two(date.getSeconds()),
    "%%": () => "%",
  };
  return format.replace(/%-?[\s\S]?/g, (directive) => {
    const part = parts[directive];
    if (!part)
      throw new ChatTemplateError(
        `chat template: strftime_now knows no ${JSON.stringify(directive)}; it knows ${Object.keys(parts).join(" ")}`,
      );
    return part();
  });
}

function dayOfYear(date: Date): number {
  const day = (year: number, month: number, of: number) => Date.UTC(year, month, of) / 86_400_000;
  const year = date.getFullYear();
  return day(year, date.getMonth(), date.getDate()) - day(year, 0, 0);
}
