import { type Duration, RemovalPolicy } from "aws-cdk-lib"
import { AttributeType, BillingMode, ProjectionType, StreamViewType, Table } from "aws-cdk-lib/aws-dynamodb"
import { EventSourceMapping, FilterCriteria, FilterRule, StartingPosition } from "aws-cdk-lib/aws-lambda"
import { Construct } from "constructs"
import type { ServiceFunction } from "./service-function.ts"

export type TableAction = "GetItem" | "Query" | "PutItem" | "UpdateItem" | "DeleteItem" | "ConditionCheckItem"

const INDEX = "byProfile"

/** The ledger: records, leases, revocations, epochs, audit. Kept when the stack goes. */
export class LedgerTable extends Construct {
  readonly table: Table

  constructor(scope: Construct, id: string) {
    super(scope, id)
    const text = (name: string) => ({ name, type: AttributeType.STRING })
    this.table = new Table(this, "Table", {
      partitionKey: text("pk"),
      sortKey: text("sk"),
      billingMode: BillingMode.PAY_PER_REQUEST,
      timeToLiveAttribute: "ttl",
      stream: StreamViewType.KEYS_ONLY,
      pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: true },
      deletionProtection: true,
      removalPolicy: RemovalPolicy.RETAIN,
    })
    this.table.addGlobalSecondaryIndex({
      indexName: INDEX,
      partitionKey: text("byProfile"),
      sortKey: text("byProfileAt"),
      projectionType: ProjectionType.ALL,
    })
  }

  /** A transaction needs the rights of its parts, so these are all that there are. Lists are read through the index by Query alone. */
  grant(grantee: ServiceFunction, ...actions: readonly TableAction[]): void {
    grantee.allow(
      actions.map((action) => `dynamodb:${action}`),
      [this.table.tableArn],
    )
  }

  /** One action on items below these partition keys alone; `*` stands for any characters. */
  grantIn(grantee: ServiceFunction, partition: string | readonly string[], action: TableAction): void {
    const partitions = typeof partition === "string" ? [partition] : partition
    const operator = partitions.some((one) => one.includes("*")) ? "StringLike" : "StringEquals"
    grantee.allow([`dynamodb:${action}`], [this.table.tableArn], {
      conditions: {
        [`ForAllValues:${operator}`]: { "dynamodb:LeadingKeys": [...partitions] },
        Null: { "dynamodb:LeadingKeys": "false" },
      },
    })
  }

  /** @param patterns partition keys, `*` for any characters */
  grantLike(grantee: ServiceFunction, patterns: readonly string[], ...actions: readonly TableAction[]): void {
    grantee.allow(
      actions.map((action) => `dynamodb:${action}`),
      [this.table.tableArn],
      {
        conditions: {
          "ForAllValues:StringLike": { "dynamodb:LeadingKeys": patterns },
          Null: { "dynamodb:LeadingKeys": "false" },
        },
      },
    )
  }

  /** No writes to these partitions, whatever else is granted. @param patterns partition keys, `*` for any characters */
  refuseWrites(grantee: ServiceFunction, patterns: readonly string[]): void {
    grantee.refuse(["dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"], [this.table.tableArn], {
      "ForAnyValue:StringLike": { "dynamodb:LeadingKeys": patterns },
    })
  }

  /** Wakes a function when something was put into these partitions, within the window; keys alone go over. */
  wake(target: ServiceFunction, partitionPrefix: string, window: Duration): void {
    const { tableStreamArn } = this.table
    if (tableStreamArn === undefined) throw new Error("the table has no stream")
    target.allow(
      ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"],
      [tableStreamArn],
    )
    const mapping = new EventSourceMapping(this, "Wake", {
      target: target.function,
      eventSourceArn: tableStreamArn,
      startingPosition: StartingPosition.LATEST,
      batchSize: 10_000,
      maxBatchingWindow: window,
      // The schedule does what a lost wake-up asked for; nothing hangs on a record.
      retryAttempts: 0,
      filters: [
        FilterCriteria.filter({
          eventName: FilterRule.isEqual("INSERT"),
          dynamodb: { Keys: { pk: { S: FilterRule.beginsWith(partitionPrefix) } } },
        }),
      ],
    })
    mapping.node.addDependency(target.role)
  }

  grantQueryIndex(grantee: ServiceFunction): void {
    grantee.allow(["dynamodb:Query"], [`${this.table.tableArn}/index/${INDEX}`])
  }
}
