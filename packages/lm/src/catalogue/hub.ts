import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { z } from "zod";
import { download, type ExpectedFile, sizeOf } from "./download.ts";
import { DownloadError, ModelReferenceError } from "./errors.ts";
import type { Fetching } from "./fetching.ts";
import { checkMember, type ModelReference } from "./reference.ts";

type HubReference = Extract<ModelReference, { kind: "hf" }>;

const revisionSchema = z.object({ sha: z.string().regex(/^[0-9a-f]{40}$/) });
const treeSchema = z.array(
  z.object({
    type: z.string(),
    path: z.string(),
    size: z.int().min(0),
    oid: z.string(),
    lfs: z.object({ oid: z.string() }).nullish(),
  }),
);
type TreeFile = z.output<typeof treeSchema>[number];

/** What a model is read from; weights in other formats, images and logs are left where they are. */
const wanted =
  /^(config|generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab|chat_template)\.json$|^(merges\.txt|chat_template\.jinja|tokenizer\.model)$|^[^/]+\.safetensors(\.index\.json)?$/;

/** Where the reference lies in the cache, once it has landed. The revision's commit is remembered under `refs`. */
export async function hubPath(reference: HubReference, models: string): Promise<string | undefined> {
  const commit = /^[0-9a-f]{40}$/.test(reference.revision)
    ? reference.revision
    : await readFile(refFile(reference, models), "utf8").catch(() => undefined);
  return commit && landing(reference, models, commit.trim());
}

/**
 * Fetches a repository's model files, or one of its files, into the cache and returns its path there.
 *
 * Files are checked against the hub's own list: SHA-256 of large files, git ids of small ones. The folder appears when
 * all are there. Errors: DownloadError, IntegrityError, ModelReferenceError for a repository without a readable model.
 */
export async function fetchFromHub(reference: HubReference, models: string, fetching: Fetching): Promise<string> {
  const { fetch, environment, signal, onProgress } = fetching;
  const hub = (environment.HF_ENDPOINT || "https://huggingface.co").replace(/\/$/, "");
  const repository = `${reference.owner}/${reference.name}`;
  const source = `hf:${repository}@${reference.revision}`;
  const token = environment.HF_TOKEN;
  const headers: Record<string, string> = token ? { authorization: `Bearer ${token}` } : {};

  const ask = async (path: string): Promise<Response> => {
    const response = await fetch(`${hub}/api/models/${repository}/${path}`, { headers, signal: signal ?? null }).catch(
      (error) => {
        signal?.throwIfAborted();
        throw new DownloadError(`${source}: the hub cannot be reached (${(error.cause ?? error).message})`);
      },
    );
    if (response.ok) return response;
    const hint = [401, 403].includes(response.status)
      ? ": no such repository, or one that asks for a token in HF_TOKEN"
      : response.status === 404
        ? ": no such repository or revision"
        : "";
    throw new DownloadError(`${source}: status ${response.status}${hint}`);
  };
  const read = <T>(schema: z.ZodType<T>, json: unknown): T => {
    const parsed = schema.safeParse(json);
    if (!parsed.success)
      throw new DownloadError(`${source}: the hub's answer cannot be read: ${z.prettifyError(parsed.error)}`);
    return parsed.data;
  };

  const { sha: commit } = read(
    revisionSchema,
    await (await ask(`revision/${encodeURIComponent(reference.revision)}`)).json(),
  );
  const target = landing(reference, models, commit);
  const remember = async () => {
    const ref = refFile(reference, models);
    await mkdir(dirname(ref), { recursive: true });
    await writeFile(ref, `${commit}\n`);
    return target;
  };
  if ((await sizeOf(target)) > 0) return remember();

  const files: TreeFile[] = [];
  for (let page: string | undefined = `tree/${commit}?recursive=true`; page; ) {
    const response: Response = await ask(page);
    files.push(...read(treeSchema, await response.json()).filter(({ type }) => type === "file"));
    page = /<[^>]*\/(tree\/[^>]*)>;\s*rel="next"/.exec(response.headers.get("link") ?? "")?.[1];
  }
  const chosen = files.filter(({ path }) =>
    reference.file === undefined ? wanted.test(path) : path === reference.file,
  );
  if (reference.file !== undefined && chosen.length === 0)
    throw new ModelReferenceError(`${source} has no file '${reference.file}'`);
  if (reference.file === undefined && !chosen.some(({ path }) => path.endsWith(".safetensors"))) {
    const others = files.map(({ path }) => path).filter((path) => path.endsWith(".gguf"));
    throw new ModelReferenceError(
      `${source} has no safetensors${others.length > 0 ? `; name one of its files as hf:${repository}:FILE (${others.join(", ")})` : ""}`,
    );
  }

  const partial = join(models, ".partial", `${slug(reference)}--${commit}`);
  const total = chosen.reduce((sum, { size }) => sum + size, 0);
  let done = 0;
  for (const file of chosen) {
    checkMember(file.path, source);
    const to = join(partial, file.path);
    await mkdir(dirname(to), { recursive: true });
    const path = file.path.split("/").map(encodeURIComponent).join("/");
    const expected: ExpectedFile = {
      bytes: file.size,
      ...(file.lfs ? { sha256: file.lfs.oid } : { gitBlob: file.oid }),
    };
    if (file.size === 0) await writeFile(to, "");
    await download(`${hub}/${repository}/resolve/${commit}/${path}`, to, {
      expected,
      headers,
      signal,
      fetch,
      onBytes: (bytes) => onProgress({ source, phase: "download", bytes: done + bytes, total }),
    });
    done += file.size;
  }
  const whole = reference.file === undefined ? partial : join(partial, reference.file);
  await mkdir(dirname(target), { recursive: true });
  await rename(whole, target);
  await rm(partial, { recursive: true, force: true });
  return remember();
}

function slug({ owner, name, file }: HubReference): string {
  return `hf--${owner}--${name}${file === undefined ? "" : `--${file.replaceAll("/", "--")}`}`;
}

function landing(reference: HubReference, models: string, commit: string): string {
  const folder = join(models, `hf--${reference.owner}--${reference.name}`);
  return reference.file === undefined ? join(folder, commit) : join(folder, `${commit}-files`, reference.file);
}

function refFile({ owner, name, revision }: HubReference, models: string): string {
  return join(models, `hf--${owner}--${name}`, "refs", encodeURIComponent(revision));
}
