/** Headers that carry secrets, whoever's they are. */
const secretHeader = /(?:^|[-_])(?:(?:api)?key|token|secret|password|auth|authorization|cookie|credentials?)$/i;
/** Fields of a body that do; `prompt_cache_key` and `stop_token` are not among them. */
const secretField =
  /^(?:x[-_])?(?:api[-_]?key|access[-_]?(?:key|token)|auth(?:orization)?(?:[-_]?token)?|(?:client[-_]?)?secret(?:[-_]?key)?|password|passwd|bearer(?:[-_]?token)?|token|key|credentials?|cookie)$/i;
/** Beginnings of the keys of services in use, before letters and digits. */
const keyBeginning =
  /^(?:bearer\s|(?:sk|pk|rk|gsk|csk|xai|hf|nvapi|ghp|glpat|pat|r8|pplx|tgp|fw|key)[-_](?=[\w-]{16,}$)|AIza(?=[\w-]{20,}$))/i;

export function namesSecretHeader(name: string): boolean {
  return secretHeader.test(name);
}

/** Whether a text is by all appearance a key: a beginning in use, or a long mixture of digits and letters of both cases. */
export function looksLikeKey(text: string): boolean {
  if (keyBeginning.test(text)) return true;
  return /^[\w+/=.-]{28,}$/.test(text) && /[a-z]/.test(text) && /[A-Z]/.test(text) && /\d/.test(text);
}

/** The path of the first field in a body, at any depth, that is a secret by its name or its look. */
export function secretIn(body: unknown, path = ""): string | undefined {
  if (body === null || typeof body !== "object") return undefined;
  for (const [name, value] of Object.entries(body)) {
    const at = path === "" ? name : `${path}.${name}`;
    if (typeof value === "string" && (secretField.test(name) || looksLikeKey(value))) return at;
    const inner = secretIn(value, at);
    if (inner !== undefined) return inner;
  }
  return undefined;
}

/** Blots secrets out of text: plain, as they stand inside a JSON string, and as they stand in an address. */
export function redactor(secrets: readonly string[]): (text: string) => string {
  const forms = new Set(
    secrets.flatMap((secret) => [secret, JSON.stringify(secret).slice(1, -1), encodeURIComponent(secret)]),
  );
  forms.delete("");
  const needles = [...forms].sort((a, b) => b.length - a.length);
  return (text) => needles.reduce((all, needle) => all.replaceAll(needle, "***"), text);
}
