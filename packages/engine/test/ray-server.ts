import { once } from "node:events";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { writeBody } from "../src/body.ts";

export interface FakeJob {
  status: string;
  message?: string;
  logs?: string;
  metadata?: Record<string, string>;
  request?: Record<string, unknown>;
}

/** The Jobs API as a cluster of Ray 2.60 answers: a token, packages by their hash, jobs by their id. */
export async function rayServer({ token, onSubmit }: { token?: string; onSubmit?: (job: FakeJob) => void } = {}) {
  const packages = new Map<string, Buffer>();
  const jobs = new Map<string, FakeJob>();
  const seen: { method: string; path: string; headers: IncomingHttpHeaders }[] = [];
  const server = createServer(async (request, response) => {
    const { method = "GET", url: path = "", headers } = request;
    seen.push({ method, path, headers });
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const body = Buffer.concat(parts);
    const say = (status: number, value: unknown) =>
      void response.writeHead(status).end(typeof value === "string" ? value : JSON.stringify(value));
    if (token !== undefined && headers.authorization === undefined) return say(401, "Unauthorized: Missing token");
    if (token !== undefined && headers.authorization !== `Bearer ${token}`) return say(403, "Forbidden: Invalid token");
    if (headers["sec-fetch-mode"] !== undefined && method !== "GET")
      return say(405, `'${method}' method not allowed for browser traffic`);
    if (path === "/api/version") return say(200, { version: "4", ray_version: "2.60.0", session_name: "session" });
    const package_ = /^\/api\/packages\/gcs\/(_ray_pkg_[0-9a-f]{16}\.zip)$/.exec(path)?.[1];
    if (package_ && method === "GET") return say(packages.has(package_) ? 200 : 404, "");
    if (package_ && method === "PUT") {
      packages.set(package_, body);
      return say(200, "");
    }
    if (path === "/api/jobs/" && method === "GET")
      return say(
        200,
        [...jobs].map(([submission_id, { status, message, metadata }]) => ({
          submission_id,
          status,
          message,
          metadata,
        })),
      );
    if (path === "/api/jobs/" && method === "POST") {
      const given = JSON.parse(body.toString()) as { submission_id: string };
      if (jobs.has(given.submission_id))
        return say(500, `Traceback …\nValueError: ${given.submission_id} already exists`);
      const job: FakeJob = { status: "PENDING", request: given };
      jobs.set(given.submission_id, job);
      onSubmit?.(job);
      return say(200, { submission_id: given.submission_id });
    }
    const [, id, what] = /^\/api\/jobs\/([^/]+)(?:\/(logs|stop))?$/.exec(path) ?? [];
    const job = id === undefined ? undefined : jobs.get(decodeURIComponent(id));
    if (!job) return say(404, `Job ${id} does not exist`);
    if (what === "logs") return say(200, { logs: job.logs ?? "" });
    if (what === "stop") {
      job.status = "STOPPED";
      return say(200, { stopped: true });
    }
    say(200, { status: job.status, message: job.message ?? null, error_type: null, driver_exit_code: null });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    packages,
    jobs,
    seen,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** GET /v1/health, by what a test wants it to say; to every verb it says yes. */
export async function healthServer(health: () => { token: string; value: unknown } | undefined) {
  const server = createServer((request, response) => {
    const said = health();
    if (!said) return void request.socket.destroy();
    const right = request.headers.authorization === `Bearer ${said.token}`;
    if (right && request.method === "POST") return void response.writeHead(200).end(writeBody({}, {}));
    response
      .writeHead(right ? 200 : 401)
      .end(JSON.stringify(right ? said.value : { error: "no token, or a wrong one" }));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
