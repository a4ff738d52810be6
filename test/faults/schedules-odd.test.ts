import { test } from "vitest"
import { runSchedules } from "./schedules.ts"

test("the promises hold in every schedule, odd seeds", { timeout: 3_600_000 }, () => runSchedules(0))
