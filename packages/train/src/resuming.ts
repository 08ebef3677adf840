import { EngineRestartedError } from "@tenet/engine";

export interface ResumingOptions {
  /** Restarts, at most. Default 5. */
  readonly most?: number | undefined;
  readonly onRestart?: ((error: EngineRestartedError) => void) | undefined;
}

/**
 * Runs a training; where the engine's workers were lost and are there again, or a micro-batch did not fit, it goes on from its last
 * checkpoint. @param start begins the training, or continues it: its folder is the same each time
 * Errors: the last EngineRestartedError, once there were more than `most`.
 */
export async function* resuming<Event, Result>(
  start: () => AsyncGenerator<Event, Result>,
  options: ResumingOptions = {},
): AsyncGenerator<Event, Result> {
  for (let restarts = 0; ; restarts++) {
    try {
      return yield* start();
    } catch (error) {
      requireRestart(error, restarts, options);
    }
  }
}

/** As `resuming`, of work that is begun anew: nothing of it is lost with the workers. */
export async function resumed<Result>(start: () => Promise<Result>, options: ResumingOptions = {}): Promise<Result> {
  for (let restarts = 0; ; restarts++) {
    try {
      return await start();
    } catch (error) {
      requireRestart(error, restarts, options);
    }
  }
}

/** Errors: what it is given, unless it is a restart and there were few. */
function requireRestart(error: unknown, restarts: number, { most = 5, onRestart }: ResumingOptions): void {
  if (!(error instanceof EngineRestartedError) || restarts >= most) throw error;
  onRestart?.(error);
}
