export { answerCalls, type Call, type CallersOptions, isLoopback, type RunningServer } from "./http.ts";
export { ApiError } from "./refusals.ts";
export { type ServeOptions, serve } from "./server.ts";
