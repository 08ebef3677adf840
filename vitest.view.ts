import { defineConfig } from "vitest/config";
import shared from "./vitest.config.ts";

// The dashboard in a browser. Apart from the other tests: it builds the page, and needs a Chromium.
export default defineConfig({
  ...shared,
  test: {
    ...shared.test,
    include: ["packages/view/browser/**/*.test.ts", "tests/browser/**/*.test.ts"],
    exclude: ["**/node_modules/**", "**/dist/**"],
    maxWorkers: 1,
  },
});
