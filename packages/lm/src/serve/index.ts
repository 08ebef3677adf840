export { isLoopback, type RunningServer, type ServeOptions, serve } from "./server.ts";
