import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    pool: "forks",
    maxWorkers: 1,
    fileParallelism: false,
    testTimeout: 120_000,
    globalSetup: "test/support/built-setup.ts",
    include: ["test/clients/**/*.test.ts"],
  },
})
