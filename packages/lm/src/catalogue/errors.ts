/** A model reference that cannot be read, or names nothing. */
export class ModelReferenceError extends Error {
  override name = "ModelReferenceError";
}

/** A model could not be fetched: no network, no such file, no pip. The message says how to proceed. */
export class DownloadError extends Error {
  override name = "DownloadError";
}

/** What came is not what the catalogue or the source promised. The file has been removed. */
export class IntegrityError extends Error {
  override name = "IntegrityError";
}
