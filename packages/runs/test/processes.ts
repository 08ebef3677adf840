import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach } from "vitest";

const children = new Set<ChildProcess>();

afterEach(() => {
  for (const child of children) child.kill("SIGKILL");
});

const script = fileURLToPath(new URL("child.ts", import.meta.url));

/** The command that runs `child.ts` of this folder. */
export function childCommand(...args: readonly string[]): [string, ...string[]] {
  return [process.execPath, "--conditions=source", "--import", "tsx", script, ...args];
}

/** `child.ts` in a process of its own, and the lines it prints. */
export class Child {
  readonly lines: string[] = [];
  readonly #process: ChildProcess;
  readonly #closed: Promise<void>;
  #wake: () => void = () => {};
  #open = true;

  constructor(...args: readonly string[]) {
    const [node, ...rest] = childCommand(...args);
    this.#process = spawn(node, rest, {
      stdio: ["pipe", "pipe", "inherit"],
    });
    children.add(this.#process);
    createInterface({ input: this.#process.stdout! }).on("line", (line) => {
      this.lines.push(line);
      this.#wake();
    });
    this.#closed = new Promise((resolve) =>
      this.#process.once("close", () => {
        children.delete(this.#process);
        this.#open = false;
        this.#wake();
        resolve();
      }),
    );
  }

  get pid(): number {
    return this.#process.pid!;
  }

  /** Waits until it has printed so many lines, or has ended. */
  async printed(count: number): Promise<string[]> {
    while (this.#open && this.lines.length < count)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    return this.lines;
  }

  /** Kills it as a power cut would, and waits until it is gone and all it printed is here. */
  kill(): Promise<void> {
    this.#process.kill("SIGKILL");
    return this.#closed;
  }

  ended(): Promise<void> {
    return this.#closed;
  }
}
