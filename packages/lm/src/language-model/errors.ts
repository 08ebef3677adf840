/** A mistake in the call: an option out of range, a batch that cannot be, a closed model. */
export class UsageError extends Error {
  override name = "UsageError";
}

/** The model cannot do what was asked. `capability` names the missing one. */
export class CapabilityError extends Error {
  override name = "CapabilityError";
  readonly capability: string;
  constructor(capability: string, message: string) {
    super(message);
    this.capability = capability;
  }
}

/** What went wrong between here and an endpoint. */
export type EndpointFault = "http" | "network" | "timeout" | "malformed" | "replay-miss";

/** An endpoint refused, failed or could not be reached. `status` is the HTTP status where there was an answer. */
export class EndpointError extends Error {
  override name = "EndpointError";
  readonly fault: EndpointFault;
  readonly status: number | undefined;
  /** Position of the failed request in its batch, where there is one. */
  readonly request: number | undefined;
  constructor(
    message: string,
    facts: { fault: EndpointFault; status?: number | undefined; request?: number | undefined },
  ) {
    super(message);
    this.fault = facts.fault;
    this.status = facts.status;
    this.request = facts.request;
  }
}

/** Whether a server says that its model sees no images: llama.cpp and Ollama do so with status 500. */
export function seesNoImages(words: string): boolean {
  return /image input is not supported|missing data required for image input|unsupported content part type: ?\W*image/i.test(
    words,
  );
}

/** The budget is spent; what was already paid for has been delivered. */
export class BudgetError extends Error {
  override name = "BudgetError";
  readonly spent: { tokens: number; usd: number };
  constructor(message: string, spent: { tokens: number; usd: number }) {
    super(message);
    this.spent = spent;
  }
}
