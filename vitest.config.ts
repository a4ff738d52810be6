import { defineConfig } from "vitest/config"

const fast = [
  "test/architecture.test.ts",
  "test/unit/**/*.test.ts",
  "test/vectors/**/*.test.ts",
  "test/properties/**/*.test.ts",
]

export default defineConfig({
  test: {
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 30_000,
    projects: [
      // What they change of the process they put back; modules are loaded once a worker.
      { extends: true, test: { name: "fast", include: fast, isolate: false } },
      {
        extends: true,
        test: {
          name: "whole",
          include: ["test/**/*.test.ts"],
          exclude: [...fast, "test/long/**", "test/clients/**"],
          globalSetup: "test/support/built-setup.ts",
        },
      },
    ],
  },
})
