/** How a download goes. `wait`: another process is at it. Bytes where they are known. */
export interface DownloadProgress {
  source: string;
  phase: "wait" | "download" | "extract" | "verify" | "done";
  bytes?: number;
  total?: number;
}

/** What the parts of a download share. */
export interface Fetching {
  fetch: typeof globalThis.fetch;
  environment: Record<string, string | undefined>;
  signal: AbortSignal | undefined;
  onProgress: (progress: DownloadProgress) => void;
}
