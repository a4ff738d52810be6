import { defineConfig } from "vitest/config"

/** What takes minutes of processes or repeats: `npm test` leaves it to CI, where SLOW makes it thorough. */
export default defineConfig({
  test: {
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 60_000,
    globalSetup: "test/support/built-setup.ts",
    include: ["test/long/**/*.test.ts"],
  },
})
