export { startEngine } from "./alone.ts";
export { BodyError, readBody, type TensorOf, type Tensors, writeBody } from "./body.ts";
export { EngineClient, type EngineClientOptions, type EngineReply, type EngineTraffic } from "./client.ts";
export { type ClusterOptions, type LocalCluster, startCluster } from "./cluster.ts";
export { enginePython, environmentFolder } from "./environment.ts";
export {
  EngineError,
  EngineGoneError,
  EngineMemoryError,
  EngineRefusedError,
  EngineRestartedError,
  RayJobsError,
} from "./errors.ts";
export { type JobRequest, type RayJob, RayJobs, type RayJobsOptions } from "./jobs.ts";
export {
  endedError,
  jobId,
  type LaunchedEngine,
  type LaunchOptions,
  launchEngine,
  programFolder,
  rayToken,
  stopJob,
} from "./launch.ts";
export {
  type EngineHealth,
  type EngineSpec,
  healthSchema,
  PROTOCOL,
  protocolSchema,
  type Request,
  specSchema,
  type ValueName,
  type Verb,
  values,
  verbs,
} from "./protocol.ts";
export { forgetToken } from "./tokens.ts";
export { testedWith } from "./versions.ts";
