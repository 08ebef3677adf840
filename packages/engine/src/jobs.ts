import { createHash } from "node:crypto";
import { z } from "zod";
import { RayJobsError } from "./errors.ts";
import { type HttpReply, http } from "./http.ts";

const versionSchema = z.object({ version: z.string(), ray_version: z.string() });
const jobSchema = z.object({
  status: z.enum(["PENDING", "RUNNING", "STOPPED", "SUCCEEDED", "FAILED"]),
  message: z.string().nullish(),
  error_type: z.string().nullish(),
  driver_exit_code: z.number().nullish(),
  metadata: z.record(z.string(), z.string()).nullish(),
  /** Milliseconds since 1970. */
  start_time: z.number().nullish(),
});
export type RayJob = z.output<typeof jobSchema>;

/** What is submitted. */
export interface JobRequest {
  readonly entrypoint: string;
  readonly submission_id: string;
  readonly runtime_env: {
    readonly working_dir: string;
    readonly env_vars: Readonly<Record<string, string>>;
    readonly [more: string]: unknown;
  };
  readonly metadata: Readonly<Record<string, string>>;
}

export interface RayJobsOptions {
  /** The dashboard's, such as `http://localhost:8265`. */
  readonly address: string;
  readonly token?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Ray's Jobs API (version 4). Errors: RayJobsError, in the words of somebody who has to do something about it. */
export class RayJobs {
  readonly address: string;
  readonly #options: RayJobsOptions;

  constructor(options: RayJobsOptions) {
    this.address = options.address.replace(/\/$/, "");
    this.#options = options;
  }

  version(): Promise<z.output<typeof versionSchema>> {
    return this.#json("GET", "/api/version", versionSchema);
  }

  /** Uploads a program unless the cluster has it; returns its address there. */
  async upload(zip: Uint8Array): Promise<{ readonly uri: string; readonly uploaded: boolean }> {
    const package_ = `_ray_pkg_${createHash("sha256").update(zip).digest("hex").slice(0, 16)}.zip`;
    const path = `/api/packages/gcs/${package_}`;
    const known = (await this.#call("GET", path, undefined, [200, 404])).status === 200;
    if (!known) await this.#call("PUT", path, zip);
    return { uri: `gcs://${package_}`, uploaded: !known };
  }

  /** An id that was used answers with a traceback, and one whose job was removed may fail at once: Ray lets go of its name later. */
  async submit(request: JobRequest): Promise<void> {
    await this.#call("POST", "/api/jobs/", JSON.stringify(request));
  }

  /** Undefined where there is none of this id. */
  async job(id: string): Promise<RayJob | undefined> {
    const reply = await this.#call("GET", jobPath(id), undefined, [200, 404]);
    return reply.status === 404 ? undefined : this.#read(reply, jobSchema, jobPath(id));
  }

  /** All of them, by id. */
  async jobs(): Promise<Record<string, RayJob>> {
    const list = z.array(jobSchema.extend({ submission_id: z.string().nullish() }));
    const found = await this.#json("GET", "/api/jobs/", list);
    return Object.fromEntries(found.flatMap(({ submission_id: id, ...job }) => (id ? [[id, job]] : [])));
  }

  /** The whole log; Ray has no part of it to give. */
  async logs(id: string): Promise<string> {
    return (await this.#json("GET", `${jobPath(id)}/logs`, z.object({ logs: z.string() }))).logs;
  }

  async stop(id: string): Promise<void> {
    await this.#call("POST", `${jobPath(id)}/stop`);
  }

  async #json<T>(method: string, path: string, schema: z.ZodType<T>): Promise<T> {
    return this.#read(await this.#call(method, path), schema, path);
  }

  #read<T>({ body }: HttpReply, schema: z.ZodType<T>, path: string): T {
    let json: unknown;
    try {
      json = JSON.parse(body.toString("utf8"));
    } catch {
      // What is no JSON fails the schema.
    }
    const parsed = schema.safeParse(json);
    if (parsed.success) return parsed.data;
    throw new RayJobsError(
      `${this.address}${path} does not answer as Ray's Jobs API does: expected the dashboard of a Ray cluster (port 8265 as a rule)`,
    );
  }

  async #call(method: string, path: string, body?: string | Uint8Array, fine = [200]): Promise<HttpReply> {
    const { token, signal } = this.#options;
    let reply: HttpReply;
    try {
      reply = await http(this.address + path, { method, token, body, signal, seconds: 60 });
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      throw new RayJobsError(
        `no Ray cluster answers at ${this.address} (${(error as Error).message}); is it up, and the tunnel to it?`,
        undefined,
        { cause: error },
      );
    }
    const { status } = reply;
    if (fine.includes(status)) return reply;
    if (status === 401 || status === 403)
      throw new RayJobsError(
        `the cluster at ${this.address} ${status === 401 ? "wants a token" : "does not take this token"}: set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH to a file that holds it, or write it to ~/.ray/auth_token`,
        status,
      );
    // Behind a traceback stands what happened.
    const words = reply.body.toString("utf8").trim().slice(-500);
    throw new RayJobsError(`${method} ${this.address}${path}: status ${status}: ${words}`, status);
  }
}

function jobPath(id: string): string {
  return `/api/jobs/${encodeURIComponent(id)}`;
}
