/** A server's refusal: an answer that is an error, whatever its status says. */
export class Refused extends Error {
  override name = "Refused";
  /** Absent where the body of a status 200 is an error that names none. */
  readonly status: number | undefined;
  readonly headers: Headers | undefined;
  /** Parsed where it is JSON, else its text. */
  readonly body: unknown;
  constructor(status: number | undefined, body: unknown, headers?: Headers) {
    super("the server refused");
    this.status = status;
    this.body = body;
    this.headers = headers;
  }
}

/** The server's reply was longer than anything that was asked for. */
export class TooLong extends Error {
  override name = "TooLong";
}

/**
 * The error that a body of status 200 is: gateways send the status before their provider answers. Undefined for a reply.
 * A number in `error.code` or `error.status` is taken for the status.
 */
export function errorIn(json: unknown): Refused | undefined {
  if (!isRecord(json)) return undefined;
  const choices = Array.isArray(json.choices) ? (json.choices as unknown[]) : [];
  const inChoice = choices.find((choice) => isRecord(choice) && isError(choice.error));
  if (isRecord(inChoice)) return new Refused(statusIn(inChoice.error), { error: inChoice.error });
  if (choices.length > 0 || Array.isArray(json.data)) return undefined;
  if (isError(json.error)) return new Refused(statusIn(json.error), json);
  const told = json.object === "error" || (!("choices" in json) && wordsIn(json) !== "");
  return told ? new Refused(statusIn(json), json) : undefined;
}

function isError(value: unknown): boolean {
  return (typeof value === "string" && value !== "") || (isRecord(value) && Object.keys(value).length > 0);
}

/** A status from 400 to 599 in one of the fields that hold it. */
export function statusIn(error: unknown): number | undefined {
  if (!isRecord(error)) return undefined;
  for (const value of [error.code, error.status, error.status_code, error.statusCode]) {
    const status = typeof value === "string" && /^\d{3}$/.test(value) ? Number(value) : value;
    if (typeof status === "number" && Number.isInteger(status) && status >= 400 && status <= 599) return status;
  }
  return undefined;
}

/** What a refusal says, in the server's own words, on one line. */
export function wordsOf(body: unknown): string {
  if (typeof body === "string") return pageText(body);
  return wordsIn(body) || (body === null || body === undefined ? "" : JSON.stringify(body));
}

const wordFields = ["message", "msg", "detail", "details", "error", "errors", "error_description", "title", "reason"];

function wordsIn(value: unknown): string {
  if (typeof value === "string") return value.trim();
  if (Array.isArray(value)) return value.map(wordsIn).filter(Boolean).join("; ");
  if (!isRecord(value)) return "";
  const said = wordFields.map((field) => wordsIn(value[field])).filter(Boolean);
  const place = Array.isArray(value.loc) ? `${value.loc.join(".")}: ` : "";
  // A gateway's own words hide those of the provider behind it.
  const raw = isRecord(value.metadata) ? wordsIn(value.metadata.raw) : "";
  return [...new Set([...(said.length > 0 ? [`${place}${said[0]}`, ...said.slice(1)] : []), raw])]
    .filter(Boolean)
    .join("; ");
}

/** The words of a page, where a proxy sends one. */
function pageText(text: string): string {
  if (!/^\s*<(?:!doctype|html|head|body|\?xml)/i.test(text)) return text.replaceAll(/\s+/g, " ").trim();
  return text
    .replaceAll(/<(script|style)\b[\s\S]*?<\/\1>/gi, " ")
    .replaceAll(/<[^>]*>/g, " ")
    .replaceAll(/\s+/g, " ")
    .trim();
}

/** Statuses with which servers refuse a field. */
const fieldStatuses = new Set([400, 403, 404, 405, 406, 415, 422, 500, 501]);

/** Words and codes by which a server says that it does not know or support something, as opposed to a value out of range. */
const unsupported =
  /un(?:known|recogni[sz]ed|expected|supported)|extra[ _](?:inputs?|fields?|forbidden)|extra_forbidden|not[ _](?:supported|permitted|allowed|available|recogni[sz]ed|implemented|enabled|accepted)|n['’]t (?:supported?|allowed?|available|accepted?)|(?:does|do) ?n[o'’]t (?:support|accept|take|allow|know)|(?:no|without) support|gives? no|no such|additional propert|invalid (?:parameter|argument|field|key)|may only|only (?:the )?(?:default|supports?)|deprecated|cannot be (?:used|set)|can['’]?t be (?:used|set)|remove/i;

/**
 * The field of a body that a refusal names as unknown or unsupported; undefined where it names none. `fields` are those that
 * may be left out.
 */
export function refusedField({ status, body }: Refused, fields: readonly string[]): string | undefined {
  if (status !== undefined && !fieldStatuses.has(status)) return undefined;
  const text = typeof body === "string" ? body : JSON.stringify(body ?? "");
  if (!unsupported.test(text)) return undefined;
  const named = namedIn(body).flatMap((name) => fields.filter((field) => name === field));
  if (named[0] !== undefined) return named[0];
  const words = wordsOf(body);
  const quoted = fields
    .map((field) => ({ field, at: words.search(new RegExp(`["'\`‘“]${field}["'\`’”]`)) }))
    .filter(({ at }) => at >= 0)
    .sort((a, b) => a.at - b.at)[0];
  if (quoted) return quoted.field;
  // Short words such as "n" and "stop" are found in any sentence.
  return fields.find(
    (field) => (field.length > 4 || field.includes("_")) && new RegExp(`(?<![\\w])${field}(?![\\w])`, "i").test(words),
  );
}

/** What an error's own fields name: `param`, and the places of a validator. */
function namedIn(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(namedIn);
  if (!isRecord(value)) return [];
  const own = [value.param, value.parameter, value.field].filter((one) => typeof one === "string");
  const places = Array.isArray(value.loc) ? value.loc.filter((one) => typeof one === "string") : [];
  return [
    ...own,
    ...places,
    ...Object.values(value)
      .filter((one) => typeof one === "object")
      .flatMap(namedIn),
  ];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
