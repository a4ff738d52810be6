import { defineConfig } from "vitest/config"

/** Whole services beyond the main path: minutes of processes, which `npm test` leaves to CI. */
export default defineConfig({
  test: {
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 60_000,
    globalSetup: "test/support/built-setup.ts",
    include: ["test/e2e/long/**/*.test.ts"],
  },
})
