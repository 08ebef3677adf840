export * from "./errors.ts";
export { letterOf } from "./letters.ts";
export { asReplies, type ReadReply, type ReplyEdit, readReply, thoughtAway, whyEmpty } from "./reply.ts";
export { checkPrompt, randomnessKey, resolveSampling } from "./request.ts";
export {
  type FilterOptions,
  inverseTemperature,
  logSoftmax,
  type Sampled,
  sampleToken,
  samplingDistribution,
} from "./sampling.ts";
export {
  promptText,
  type ScriptContext,
  type ScriptedOptions,
  type ScriptedRule,
  scriptedModel,
  scriptedTokens,
} from "./scripted.ts";
export { type StopDetector, type StopStep, stopDetector } from "./stop.ts";
export * from "./types.ts";
