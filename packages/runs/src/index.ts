/**
 * The run store: what runs computed, what is known about it, and what it came from. One folder, SQLite inside; docs/runs.md.
 */
export { canonicalJson, hashOf, NotJsonError } from "./canonical.ts";
export {
  ArtifactChangedError,
  NotInStoreError,
  RunBusyError,
  StageBusyError,
  StoreAccessError,
  StoreBusyError,
  StoreCorruptError,
  StoreError,
  StoreFullError,
  StoreIoError,
  StoreVersionError,
  storeError,
  type Writer,
} from "./errors.ts";
export { makeFolder } from "./folder.ts";
export { type RunWriter, runId } from "./run.ts";
export type { StageWriter } from "./stage.ts";
export { openStore, type Store } from "./store.ts";
export type {
  Annotation,
  Answer,
  ArtifactInfo,
  Collected,
  DatasetInfo,
  Item,
  Label,
  LineageNode,
  Made,
  Metric,
  NewEvent,
  Progress,
  Queue,
  QueueItem,
  QueueSpec,
  Rollout,
  RowPage,
  RunEvent,
  RunInfo,
  RunNote,
  RunSpec,
  RunStatus,
  RunTotals,
  SetAside,
  StageInfo,
  StageSpec,
  StepTime,
  StoredAnnotation,
  StoredAnswer,
  StoredLabel,
  StoredRow,
  StoredRunNote,
  SupersededStage,
  Usage,
  UsageTotal,
} from "./types.ts";
export { longestName } from "./types.ts";
