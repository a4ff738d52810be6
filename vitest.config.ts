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
      { extends: true, test: { name: "fast", include: fast } },
      {
        extends: true,
        test: {
          name: "whole",
          include: ["test/**/*.test.ts"],
          exclude: [...fast, "test/e2e/long/**", "test/clients/**"],
          globalSetup: "test/support/built-setup.ts",
        },
      },
    ],
  },
})
