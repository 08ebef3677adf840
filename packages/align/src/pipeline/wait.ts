/** The run can go on when people have said something: it is over for now, and the same command continues it. */
export class WaitError extends Error {
  override name = "WaitError";
}
