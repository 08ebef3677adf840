import { CapabilityError, UsageError } from "../language-model/index.ts";
import { refusesText } from "../text/index.ts";

/** What is answered instead of a reply, in OpenAI's form. */
export class ApiError extends Error {
  override name = "ApiError";
  readonly status: number;
  readonly type: string;
  readonly code: string | null;
  readonly param: string | null;

  constructor(status: number, message: string, more: { type?: string; code?: string; param?: string } = {}) {
    super(message);
    this.status = status;
    this.type = more.type ?? (status >= 500 ? "server_error" : "invalid_request_error");
    this.code = more.code ?? null;
    this.param = more.param ?? null;
  }

  get body(): object {
    const { message, type, code, param } = this;
    return { error: { message, type, param, code } };
  }
}

/** A refusal of what went wrong: the caller's mistakes are told, what is wrong in here is not. */
export function refusal(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof UsageError && /the model's context is/.test(error.message))
    return new ApiError(400, error.message, { code: "context_length_exceeded" });
  if (error instanceof UsageError || refusesText(error)) return new ApiError(400, (error as Error).message);
  if (error instanceof CapabilityError)
    return new ApiError(400, error.message, { code: "unsupported_parameter", param: error.capability });
  return new ApiError(500, "the server failed; its own log says how");
}
