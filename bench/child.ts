import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Contestant, Player, Round } from "./harness.ts";

/** How much of a dead contestant's stderr its error repeats, in characters. */
const STDERR_KEPT = 4000;

/** A contestant died, fell silent or spoke out of turn. */
export class ContestantError extends Error {}

export interface ChildOptions {
  threads: number;
  /** File with what `prepare` of the bench returned. */
  task?: string;
  /** Lets the child's stderr through as it comes. */
  verbose?: boolean;
  /** Building may compile graphs and import a large library. */
  readyTimeoutSeconds?: number;
  answerTimeoutSeconds?: number;
}

/** A contestant in a process of its own, kept alive between rounds. Its protocol is described in contestant.ts. */
export class Child implements Player {
  readonly name: string;
  readonly #process: ChildProcess;
  readonly #timeout: number;
  #stderr = "";
  #dead: string | undefined;
  #answers: string[] = [];
  #wake: () => void = () => {};

  private constructor(contestant: Contestant, options: ChildOptions) {
    this.name = contestant.name;
    this.#timeout = options.answerTimeoutSeconds ?? 900;
    const task = options.task === undefined ? [] : ["--task", options.task];
    this.#process = spawn(contestant.command, [...contestant.args, ...task, "--threads", `${options.threads}`], {
      stdio: ["pipe", "pipe", "pipe"],
    });
    this.#process.once("error", (error) => this.#die(`could not be started: ${error.message}`));
    // "close" comes after the last of stderr, "exit" may come before.
    this.#process.once("close", (code, signal) => this.#die(`ended with ${signal ?? `exit code ${code}`}`));
    this.#process.stdin!.on("error", () => {}); // a dead child's broken pipe; "close" reports the death
    this.#process.stderr!.setEncoding("utf8").on("data", (chunk: string) => {
      if (options.verbose) process.stderr.write(chunk);
      this.#stderr = (this.#stderr + chunk).slice(-STDERR_KEPT);
    });
    createInterface({ input: this.#process.stdout! }).on("line", (line) => {
      this.#answers.push(line);
      this.#wake();
    });
  }

  /** Starts a contestant and waits until it is built. `onSpawn` gets the child before that, to end it if need be. */
  static async start(contestant: Contestant, options: ChildOptions, onSpawn?: (child: Child) => void): Promise<Child> {
    const child = new Child(contestant, options);
    onSpawn?.(child);
    await child.#answer("ready", options.readyTimeoutSeconds ?? 900);
    return child;
  }

  async round(): Promise<Round> {
    const answer = await this.#ask("round", "seconds");
    return answer as unknown as Round;
  }

  async ceiling(): Promise<number> {
    const answer = await this.#ask("ceiling", "gflops");
    return answer.gflops as number;
  }

  async reset(): Promise<void> {
    await this.#ask("reset", "reset");
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** Ends the process at once and waits until it is gone: its memory is wanted for the next. */
  async stop(): Promise<void> {
    if (this.#dead !== undefined) return;
    const gone = new Promise((resolve) => this.#process.once("close", resolve));
    this.kill();
    await gone;
  }

  /** Ends the process without waiting. */
  kill(): void {
    this.#process.kill("SIGKILL");
  }

  #ask(cmd: string, expected: string): Promise<Record<string, unknown>> {
    this.#process.stdin!.write(`${JSON.stringify({ cmd })}\n`);
    return this.#answer(expected, this.#timeout);
  }

  async #answer(expected: string, timeoutSeconds: number): Promise<Record<string, unknown>> {
    const line = await this.#nextLine(timeoutSeconds);
    let answer: unknown;
    try {
      answer = JSON.parse(line);
    } catch {
      // Reported below.
    }
    if (typeof answer === "object" && answer !== null && expected in answer) return answer as Record<string, unknown>;
    this.kill();
    throw this.#error(`answered ${JSON.stringify(line.slice(0, 200))} where "${expected}" was expected`);
  }

  async #nextLine(timeoutSeconds: number): Promise<string> {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      this.#wake();
    }, timeoutSeconds * 1000);
    try {
      for (;;) {
        const line = this.#answers.shift();
        if (line !== undefined) return line;
        if (this.#dead !== undefined) throw this.#error(this.#dead);
        if (late) {
          this.kill();
          throw this.#error(`gave no answer for ${timeoutSeconds} s`);
        }
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      clearTimeout(timer);
    }
  }

  #die(how: string): void {
    this.#dead ??= how;
    this.#wake();
  }

  #error(what: string): ContestantError {
    const stderr = this.#stderr.trim();
    return new ContestantError(`${this.name} ${what}.${stderr ? ` The end of its stderr:\n${stderr}` : ""}`);
  }
}
