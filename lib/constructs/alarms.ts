import { Duration } from "aws-cdk-lib"
import {
  Alarm,
  type AlarmProps,
  ComparisonOperator,
  type IMetric,
  Metric,
  TreatMissingData,
} from "aws-cdk-lib/aws-cloudwatch"
import { SnsAction } from "aws-cdk-lib/aws-cloudwatch-actions"
import type { ITopic } from "aws-cdk-lib/aws-sns"
import { Construct } from "constructs"
import { FUNCTION_NAMES, type FunctionName, OCSP_FUNCTION } from "../../functions/routes.ts"
import type { ServiceApi } from "./http-api.ts"
import type { ServiceFunction } from "./service-function.ts"

export interface ServiceAlarmsProps {
  /** value of the metrics' dimension `Stack` */
  readonly name: string
  readonly functions: Readonly<Record<FunctionName, ServiceFunction>>
  /** default: the stack has no OCSP responder */
  readonly ocsp?: ServiceFunction | undefined
  readonly api: ServiceApi
  /** default: alarms change their state and tell nobody */
  readonly topic?: ITopic | undefined
}

/** A publication is renewed every six hours though nothing changed; an hour later its renewal has failed for an hour. */
const OLDEST_PUBLICATION_SEC = 7 * 3600

/** A timestamp lives for 72 hours and is signed anew every six: now two of these have failed. Every other role ends in months, and counts here when it comes this near. */
const TUF_HOURS = 58

/** A job of 10,000 subjects takes 20 seconds at the default rate; several wait for each other. */
const OLDEST_JOB_SEC = 3600
/** Chunks of batch jobs that a moment's trouble sent back within five minutes. */
const BATCH_FAILURES = 10

/** Minutes are reconciled half an hour after their end, every five minutes. */
const OLDEST_USE_SEC = 7200

type Ring = Omit<AlarmProps, "evaluationPeriods"> & { evaluationPeriods?: number }

/** The first leaves time to plan, the second to act, the third rings the pager. Ids are a contract: the one of 30 days has none of its own. */
const RENEWAL_DAYS = { DaysToExpiry90: 90, DaysToExpiry: 30, DaysToExpiry7: 7 } as const

/** A schedule renews these by half of their life; now it has failed for days. */
const OCSP_RENEWAL_DAYS = 7

/** Publishers and sequencers wait for each other by design, and events of CloudTrail for their turn, so a throttled one is no news. */
const THROTTLED_BY_DESIGN: readonly string[] = ["publish", "reconcile", "sequence"]

/** A round takes seconds and begins within a minute. */
const OLDEST_LOG_ENTRY_SEC = 300

function functionsOf({ functions, ocsp }: ServiceAlarmsProps): (readonly [string, ServiceFunction])[] {
  const always = FUNCTION_NAMES.map((name) => [name, functions[name]] as const)
  return ocsp === undefined ? always : [...always, [OCSP_FUNCTION, ocsp]]
}

/** What a person must hear of. */
export class ServiceAlarms extends Construct {
  constructor(scope: Construct, id: string, props: ServiceAlarmsProps) {
    super(scope, id)
    const ring = (alarmId: string, alarm: Ring) => {
      const made = new Alarm(this, alarmId, {
        evaluationPeriods: 1,
        treatMissingData: TreatMissingData.NOT_BREACHING,
        ...alarm,
      })
      if (props.topic) made.addAlarmAction(new SnsAction(props.topic))
    }
    const any = (alarmId: string, metric: IMetric, alarmDescription: string) =>
      ring(alarmId, {
        metric,
        alarmDescription,
        threshold: 1,
        comparisonOperator: ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
      })

    ring("PublicationAge", {
      alarmDescription:
        "Sealwright: the published trust metadata is old, or nothing publishes. Deployers will see it as stale.",
      metric: new Metric({
        namespace: "Sealwright",
        metricName: "PublicationAge",
        dimensionsMap: { Stack: props.name },
        statistic: "Maximum",
        period: Duration.minutes(5),
      }),
      threshold: OLDEST_PUBLICATION_SEC,
      comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
      evaluationPeriods: 3,
      treatMissingData: TreatMissingData.BREACHING,
    })
    ring("TufHoursToExpiry", {
      alarmDescription: `Sealwright: a TUF role that deployers read ends within ${TUF_HOURS} hours, or nothing publishes; then every client refuses what is published.`,
      metric: new Metric({
        namespace: "Sealwright",
        metricName: "TufHoursToExpiry",
        dimensionsMap: { Stack: props.name },
        statistic: "Minimum",
        period: Duration.minutes(15),
      }),
      threshold: TUF_HOURS,
      comparisonOperator: ComparisonOperator.LESS_THAN_THRESHOLD,
      treatMissingData: TreatMissingData.BREACHING,
    })
    for (const [alarmId, days] of Object.entries(RENEWAL_DAYS))
      ring(alarmId, {
        alarmDescription: `Sealwright: a certificate or a TUF role that people renew ends within ${days} days; renew it.`,
        metric: new Metric({
          namespace: "Sealwright",
          metricName: "DaysToExpiry",
          dimensionsMap: { Stack: props.name },
          statistic: "Minimum",
          period: Duration.hours(1),
        }),
        threshold: days,
        comparisonOperator: ComparisonOperator.LESS_THAN_THRESHOLD,
      })
    const failures = (metricName: string) =>
      new Metric({
        namespace: "Sealwright",
        metricName,
        dimensionsMap: { Stack: props.name },
        statistic: "Sum",
        period: Duration.minutes(5),
      })
    any(
      "TimestampFailures",
      failures("TimestampFailures"),
      "Sealwright: requests for timestamps that were in order got none; the log of timestamp says why.",
    )
    const metricOf = (metricName: string, statistic: string) =>
      new Metric({
        namespace: "Sealwright",
        metricName,
        dimensionsMap: { Stack: props.name },
        statistic,
        period: Duration.minutes(5),
      })
    ring("OldestJobAge", {
      alarmDescription:
        "Sealwright: a batch job is unfinished for an hour, or nothing works on jobs; the log of batch says why.",
      metric: metricOf("OldestJobAge", "Maximum"),
      threshold: OLDEST_JOB_SEC,
      comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
      evaluationPeriods: 3,
      treatMissingData: TreatMissingData.BREACHING,
    })
    ring("BatchFailures", {
      alarmDescription: "Sealwright: parts of batch jobs could not be signed and are tried again; keys or table fail.",
      metric: metricOf("BatchFailures", "Sum"),
      threshold: BATCH_FAILURES,
      comparisonOperator: ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
    })
    this.#ofReconciling(props, ring)
    ring("OldestLogEntryAge", {
      alarmDescription:
        "Sealwright: something waits for the transparency log for five minutes, or nothing takes it in; the log of sequence says why.",
      metric: metricOf("OldestLogEntryAge", "Maximum"),
      threshold: OLDEST_LOG_ENTRY_SEC,
      comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
      evaluationPeriods: 3,
      treatMissingData: TreatMissingData.BREACHING,
    })
    any(
      "LogRefused",
      failures("LogRefused"),
      "Sealwright: the transparency log stands still, since table and bucket do not agree; docs/log.md says what to do.",
    )
    any(
      "LogDisputed",
      failures("LogDisputed"),
      "Sealwright: a witness has seen another tree of a transparency log than this one; the log of sequence says who. See docs/log.md.",
    )
    if (props.ocsp) {
      any(
        "OcspFailures",
        failures("OcspFailures"),
        "Sealwright: OCSP requests that were in order got no status; the log of ocsp says why.",
      )
      ring("OcspDaysToExpiry", {
        alarmDescription: `Sealwright: an OCSP responder's certificate ends within ${OCSP_RENEWAL_DAYS} days; its daily renewal fails.`,
        metric: new Metric({
          namespace: "Sealwright",
          metricName: "OcspDaysToExpiry",
          dimensionsMap: { Stack: props.name },
          statistic: "Minimum",
          period: Duration.hours(1),
        }),
        threshold: OCSP_RENEWAL_DAYS,
        comparisonOperator: ComparisonOperator.LESS_THAN_THRESHOLD,
      })
    }
    for (const [name, { function: lambda }] of functionsOf(props)) {
      const title = `${name[0]?.toUpperCase()}${name.slice(1)}`
      any(
        `${title}Errors`,
        lambda.metricErrors({ period: Duration.minutes(5) }),
        `Sealwright: ${name} failed with an error of its own; its log says which.`,
      )
      if (!THROTTLED_BY_DESIGN.includes(name))
        any(
          `${title}Throttles`,
          lambda.metricThrottles({ period: Duration.minutes(5) }),
          `Sealwright: Lambda refused to run ${name}; the account's concurrency is used up.`,
        )
    }
    any(
      "ApiServerErrors",
      props.api.api.metricServerError({ period: Duration.minutes(5) }),
      "Sealwright: the API answered with a status of 500 or more.",
    )
  }

  /** The first two ring until someone has acknowledged what was found. */
  #ofReconciling({ name }: ServiceAlarmsProps, ring: (alarmId: string, alarm: Ring) => void): void {
    const metric = (metricName: string) =>
      new Metric({
        namespace: "Sealwright",
        metricName,
        dimensionsMap: { Stack: name },
        statistic: "Maximum",
        period: Duration.minutes(5),
      })
    const once = {
      threshold: 1,
      comparisonOperator: ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
    }
    ring("UnexplainedKeyUses", {
      alarmDescription:
        "Sealwright: a key was used and no act of the service tells why. Treat it as stolen: sealwright reconcile says which.",
      metric: metric("UnexplainedKeyUses"),
      ...once,
    })
    ring("KeyUsesWithoutEvent", {
      alarmDescription:
        "Sealwright: keys were used and CloudTrail does not show it: no trail records management events here, or somebody stopped it.",
      metric: metric("KeyUsesWithoutEvent"),
      ...once,
    })
    ring("ReconciliationAge", {
      alarmDescription: "Sealwright: uses of keys were not reconciled for two hours, or nothing reconciles.",
      metric: metric("ReconciliationAge"),
      threshold: OLDEST_USE_SEC,
      comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
      evaluationPeriods: 3,
      treatMissingData: TreatMissingData.BREACHING,
    })
  }
}
