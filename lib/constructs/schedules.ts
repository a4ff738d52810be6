import { Duration } from "aws-cdk-lib"
import { Rule, RuleTargetInput, Schedule } from "aws-cdk-lib/aws-events"
import { LambdaFunction as FunctionTarget } from "aws-cdk-lib/aws-events-targets"
import type { Construct } from "constructs"
import type { FunctionName } from "../../functions/routes.ts"
import type { ServiceFunction } from "./service-function.ts"

/** A publisher's time limit. */
export const PUBLISH_TIME = Duration.minutes(5)
/** A sequencer's. */
export const SEQUENCE_TIME = Duration.minutes(5)

/** The safety net under the wake-ups (D14). */
export function scheduleRuns(
  scope: Construct,
  functions: Readonly<Record<FunctionName, ServiceFunction>>,
  ocsp: ServiceFunction | undefined,
): void {
  new Rule(scope, "BatchEveryMinute", {
    description: "Sealwright: goes on with batch jobs",
    schedule: Schedule.rate(Duration.minutes(1)),
    targets: [
      new FunctionTarget(functions.batch.function, {
        event: RuleTargetInput.fromObject({ schedule: true }),
        retryAttempts: 0,
        maxEventAge: Duration.minutes(1),
      }),
    ],
  })
  new Rule(scope, "EveryMinute", {
    description: "Sealwright: publishes what has changed or is due",
    schedule: Schedule.rate(Duration.minutes(1)),
    targets: [
      new FunctionTarget(functions.publish.function, {
        event: RuleTargetInput.fromObject({ schedule: true }),
        retryAttempts: 0,
        maxEventAge: PUBLISH_TIME,
      }),
    ],
  })
  new Rule(scope, "SequenceEveryMinute", {
    description: "Sealwright: takes what waits into the logs",
    schedule: Schedule.rate(Duration.minutes(1)),
    targets: [
      new FunctionTarget(functions.sequence.function, {
        event: RuleTargetInput.fromObject({ schedule: true }),
        retryAttempts: 0,
        maxEventAge: SEQUENCE_TIME,
      }),
    ],
  })
  if (ocsp)
    new Rule(scope, "EveryDay", {
      description: "Sealwright: renews the certificates of OCSP responders",
      schedule: Schedule.rate(Duration.days(1)),
      targets: [
        new FunctionTarget(functions.admin.function, {
          event: RuleTargetInput.fromObject({ renew: "ocsp-responders" }),
        }),
      ],
    })
}
