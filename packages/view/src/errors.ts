import type { ApiError } from "./api.ts";

/** There is no such run, stage, row or queue. */
export class NotFoundError extends Error {
  override name = "NotFoundError";
}

/** A request that says something which cannot be. */
export class RequestError extends Error {
  override name = "RequestError";
}

const statuses: Readonly<Record<string, 400 | 403 | 404 | 409>> = {
  NotFoundError: 404,
  NotInStoreError: 404,
  RequestError: 400,
  DocumentError: 400,
  ConstitutionError: 400,
  ZodError: 400,
  StoreAccessError: 403,
  RunBusyError: 409,
};

/** How an error is told: its name, its message and the problems that it lists; and the status for it. */
export function told(error: unknown): { status: 400 | 403 | 404 | 409 | 500; body: ApiError } {
  const known = error instanceof Error ? error : new Error(String(error));
  const { problems } = known as { problems?: unknown };
  return {
    status: statuses[known.name] ?? 500,
    body: {
      error: {
        name: known.name,
        message: known.message,
        ...(Array.isArray(problems) && { problems }),
      },
    },
  };
}
