#!/usr/bin/env node
import { run } from "./index.ts";

process.exitCode = await run(process.argv.slice(2));
// A terminal that was read from would keep the process waiting for more.
process.stdin.unref?.();
