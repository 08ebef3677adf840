import { defineConfig } from "vitest/config";

// Packages are read from their sources, never from dist. Naming conditions replaces Vite's own, hence those after the first.
const conditions = ["source", "module", "node", "development|production"];

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: ["source", "node", "module-sync"] } },
  test: {
    include: [
      "packages/*/src/**/*.test.ts",
      "packages/*/test/**/*.test.ts",
      "tests/**/*.test.ts",
      "scripts/**/*.test.ts",
      "bench/**/*.test.ts",
    ],
    exclude: ["**/node_modules/**", "**/dist/**", "bench/peers/.venv/**", "tests/browser/**"],
    pool: "forks",
    // ONNX Runtime takes several threads itself.
    maxWorkers: 2,
    // For what Node resolves without Vite: worker threads and child processes that inherit these arguments.
    execArgv: ["--conditions=source"],
    // Creating ONNX Runtime sessions and compiling training graphs takes seconds on small machines.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Transformed modules are kept in node_modules, so that a second run starts sooner.
    experimental: { fsModuleCache: true },
  },
});
