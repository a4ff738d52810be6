import { test } from "vitest"
import { runSchedules } from "./schedules.ts"

test("the promises hold in every schedule, even seeds", { timeout: 3_600_000 }, () => runSchedules(1))
