/**
 * `tenet view`: a server on this machine that shows a run store, and takes what people say of it. docs/view.md.
 */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import type { AddressInfo, Server } from "node:net";
import { serve } from "@hono/node-server";
import type { Store } from "@tenet/runs";
import { viewApp } from "./app.ts";
import type { LaunchOptions } from "./launcher.ts";
import { builtPage, readPage } from "./page.ts";

export { type ViewAppOptions, viewApp } from "./app.ts";
export type { LaunchOptions } from "./launcher.ts";

export interface ViewOptions {
  /** Shown, and written to unless it was opened read-only. Stays open when the server closes. */
  readonly store: Store;
  /** The first to try; the next free one is taken. 0: any. */
  readonly port?: number;
  /** Of Tenet. */
  readonly version?: string;
  /** What to start runs and exports with; without it nothing is started. */
  readonly launch?: LaunchOptions;
  /** Hears what takes a while. */
  readonly tell?: (message: string) => void;
}

export interface View {
  /** Where a browser on this machine finds it. */
  readonly url: string;
  close(): Promise<void>;
}

/** Ports behind the first that are tried. */
const mostTries = 20;

/**
 * Serves a store to browsers on this machine, and to nobody else: it listens on 127.0.0.1.
 *
 * Errors: those of listening, such as EACCES; EADDRINUSE where twenty ports in a row are taken.
 */
export async function startView(options: ViewOptions): Promise<View> {
  const { store, version = "unknown", tell = () => {} } = options;
  const page = readPage(await builtPage(tell));
  let port = options.port ?? 4747;
  let hosts: string[] = [];
  const token = randomBytes(24).toString("base64url");
  const { app, live, chat } = viewApp({ store, version, page, token, hosts: () => hosts, launch: options.launch });
  for (let tries = 0; ; tries++) {
    const server = serve({ fetch: app.fetch, hostname: "127.0.0.1", port }) as Server;
    try {
      await listening(server);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE" || tries === mostTries || port === 0) throw error;
      port++;
      continue;
    }
    port = (server.address() as AddressInfo).port;
    hosts = [`127.0.0.1:${port}`, `localhost:${port}`];
    return {
      url: `http://127.0.0.1:${port}`,
      async close() {
        live.close();
        await chat.close();
        const closed = once(server, "close");
        server.close();
        (server as Server & { closeAllConnections?: () => void }).closeAllConnections?.();
        await closed;
      },
    };
  }
}

function listening(server: Server): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("listening", resolve);
    server.once("error", reject);
  });
}
