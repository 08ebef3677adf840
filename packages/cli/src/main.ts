#!/usr/bin/env node
import { run } from "./index.ts";

// A reader that has seen enough (`tenet models ls | head -1`) is no error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));

process.exitCode = await run(process.argv.slice(2));
// A terminal that was read from would keep the process waiting for more.
process.stdin.unref?.();
