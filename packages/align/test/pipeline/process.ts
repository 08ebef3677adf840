import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { RunEvent } from "../../src/pipeline/events.ts";

const script = fileURLToPath(new URL("child.ts", import.meta.url));

/** What `child.ts` prints: an event, or what stopped the run. */
export type Line = Exclude<RunEvent, { type: "progress" }> | { type: "error"; name: string; message: string };

/** A run of a recipe in a process of its own, and the lines it has printed. */
export class RunProcess {
  readonly lines: Line[] = [];
  /** When each line came, in milliseconds. */
  readonly times: number[] = [];
  readonly #process: ChildProcess;
  readonly #closed: Promise<void>;
  #wake: () => void = () => {};
  #open = true;

  constructor(recipe: string, store: string) {
    this.#process = spawn(process.execPath, ["--conditions=source", "--import", "tsx", script, recipe, store], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    createInterface({ input: this.#process.stdout! }).on("line", (line) => {
      this.lines.push(JSON.parse(line) as Line);
      this.times.push(performance.now());
      this.#wake();
    });
    this.#closed = new Promise((resolve) =>
      this.#process.once("close", () => {
        this.#open = false;
        this.#wake();
        resolve();
      }),
    );
  }

  get pid(): number {
    return this.#process.pid!;
  }

  /** Waits until it has printed such a line; false where it has ended without. */
  async printed(such: (line: Line) => boolean): Promise<boolean> {
    for (let seen = 0; ; ) {
      for (; seen < this.lines.length; seen++) if (such(this.lines[seen]!)) return true;
      if (!this.#open) return false;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Kills it as a power cut would, and waits until it is gone. Whether it was still running. */
  async kill(): Promise<boolean> {
    const running = this.#process.kill("SIGKILL");
    await this.#closed;
    return running && this.#process.signalCode === "SIGKILL";
  }

  ended(): Promise<void> {
    return this.#closed;
  }
}
