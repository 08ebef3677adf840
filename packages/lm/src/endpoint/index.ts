export { AdapterError, type AdapterServerOptions, AdapterServers } from "./adapter-servers.ts";
export { type EndpointDependencies, type EndpointModel, endpoint } from "./endpoint.ts";
export { recordingFetch, replayFetch } from "./replay.ts";
export type { ServerReached, ServerUse } from "./servers.ts";
export {
  addressesOf,
  type Dialect,
  dialects,
  type EndpointInput,
  type EndpointSettings,
  endpointSettingsSchema,
  isUncounted,
} from "./settings.ts";
export { tokensPerImage } from "./wire.ts";
