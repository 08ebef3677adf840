/** Something is wrong between here and the engine. */
export class EngineError extends Error {
  override name = "EngineError";
}

/** The group of workers was lost and is there again, without its adapters: what was trained goes on from the last checkpoint. */
export class EngineRestartedError extends EngineError {
  override name = "EngineRestartedError";
}

/** There is no engine any more, or none can be reached: the same command goes on once there is one. */
export class EngineGoneError extends EngineError {
  override name = "EngineGoneError";
}

/** The engine does not do what it was asked: a request that does not fit its model, or a program that is not ours. */
export class EngineRefusedError extends EngineError {
  override name = "EngineRefusedError";
}

/** A micro-batch did not fit into the memory of a worker. */
export class EngineMemoryError extends EngineError {
  override name = "EngineMemoryError";
}

/** An error of the Jobs API, with its status. */
export class RayJobsError extends EngineError {
  override name = "RayJobsError";
  readonly status: number | undefined;

  constructor(message: string, status?: number, options?: ErrorOptions) {
    super(message, options);
    this.status = status;
  }
}
