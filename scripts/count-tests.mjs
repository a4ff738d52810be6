// Adds up vitest's JSON reports in a folder and prints `N passed, N failed` as the last line.
//   node scripts/count-tests.mjs FOLDER EXIT-STATUS
// A run that ended otherwise than with 0, though no report names a failed test, counts as one failure.
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"

const [folder = ".", status = "0"] = process.argv.slice(2)
let passed = 0
let failed = 0
let skipped = 0
for (const name of readdirSync(folder).filter((file) => file.endsWith(".json"))) {
  const report = JSON.parse(readFileSync(join(folder, name), "utf8"))
  const suitesWithoutTests = report.testResults.filter(
    (file) => file.status === "failed" && file.assertionResults.every(({ status }) => status !== "failed"),
  )
  passed += report.numPassedTests
  failed += report.numFailedTests + suitesWithoutTests.length
  skipped += report.numPendingTests + report.numTodoTests
}
if (status !== "0" && failed === 0) failed = 1
process.stdout.write(`${skipped} skipped in all\n${passed} passed, ${failed} failed\n`)
