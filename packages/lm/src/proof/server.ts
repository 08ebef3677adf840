import { once } from "node:events";
import { createServer } from "node:net";
import type { z } from "zod";
import { EndpointError } from "../language-model/index.ts";
import { ExportRuntimeError, type Program, startProgram } from "./program.ts";

export interface ServerToStart {
  /** By name or path. */
  readonly program: string;
  /** For people. */
  readonly name: string;
  /** What it is started with, on a port of this machine. */
  readonly args: (port: number) => readonly string[];
  /** What it opens, for people. */
  readonly model: string;
  /** On top of this process's own. */
  readonly environment?: Readonly<Record<string, string>>;
  readonly startSeconds: number;
  /** Seconds that it may take to end once it is told to. Default 5. */
  readonly stopSeconds?: number;
  readonly signal?: AbortSignal | undefined;
}

/** A server of others that a proof asks, on a port of this machine. */
export interface StartedServer {
  /** Errors: EndpointError for what it refuses, ExportRuntimeError where it is gone or answers otherwise than it should. */
  ask<T>(path: string, body: object, schema: z.ZodType<T>): Promise<T>;
  stop(): Promise<void>;
}

/**
 * Starts a server that answers 200 at `/health` once it has opened what it was given.
 * Errors: ExportRuntimeError where it cannot be started, or does not come up.
 */
export async function startServer(options: ServerToStart): Promise<StartedServer> {
  const { program, name, args, model, environment, startSeconds, stopSeconds, signal } = options;
  const port = await freePort();
  const server = startProgram(program, args(port), ["ignore", "ignore"], environment);
  const url = `http://127.0.0.1:${port}`;
  const stop = () => server.stop(() => server.child.kill(), stopSeconds);
  const deadline = Date.now() + startSeconds * 1000;
  while (!(await isUp(url, deadline, signal))) {
    const why = server.ended();
    if (why !== undefined) throw new ExportRuntimeError(`${program} does not come up with ${model}: ${why}`);
    if (signal?.aborted || Date.now() > deadline) {
      await stop();
      signal?.throwIfAborted();
      throw new ExportRuntimeError(`${program} did not come up within ${startSeconds} s`);
    }
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  return { ask: asking(url, name, server), stop };
}

function asking(url: string, name: string, server: Program): StartedServer["ask"] {
  return async (path, body, schema) => {
    const headers = { "content-type": "application/json" };
    let response: Response;
    try {
      response = await fetch(`${url}${path}`, { method: "POST", headers, body: JSON.stringify(body) });
    } catch (error) {
      // That a program has ended is told a little later than that its connections have.
      for (let tries = 0; tries < 20 && server.ended() === undefined; tries++)
        await new Promise((resolve) => setTimeout(resolve, 100));
      const why = server.ended() ?? `it does not answer ${path}`;
      throw new ExportRuntimeError(`${name}'s server is gone: ${why}`, { cause: error });
    }
    const text = await response.text();
    if (!response.ok)
      throw new EndpointError(`${name}'s server refuses ${path}: ${text.slice(0, 500)}`, {
        fault: "http",
        status: response.status,
      });
    try {
      return schema.parse(JSON.parse(text));
    } catch (error) {
      const answer = JSON.stringify(text.slice(0, 200));
      throw new ExportRuntimeError(
        `${name}'s server answers ${path} as none of its versions that are known: ${answer}`,
        {
          cause: error,
        },
      );
    }
  };
}

async function isUp(url: string, deadline: number, signal: AbortSignal | undefined): Promise<boolean> {
  const left = AbortSignal.timeout(Math.min(5000, Math.max(1, deadline - Date.now())));
  const waited = signal ? AbortSignal.any([left, signal]) : left;
  return fetch(`${url}/health`, { signal: waited }).then(
    ({ ok }) => ok,
    () => false,
  );
}

/** A port of this machine that nothing listens on. */
export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as { port: number };
  probe.close();
  await once(probe, "close");
  return port;
}
