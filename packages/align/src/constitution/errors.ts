/** A constitution cannot be used as asked: nothing to draw from, a vote on an unknown candidate. Faults of its text are DocumentErrors. */
export class ConstitutionError extends Error {
  override name = "ConstitutionError";
}

/** A check could not be carried out: its module was not loaded, threw, or answered with something that is no verdict. */
export class CheckError extends Error {
  override name = "CheckError";
}
