import { RemovalPolicy } from "aws-cdk-lib"
import { AttributeType, BillingMode, ProjectionType, Table } from "aws-cdk-lib/aws-dynamodb"
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

  /** One action on items below one partition key alone. */
  grantIn(grantee: ServiceFunction, partition: string, action: TableAction): void {
    grantee.allow([`dynamodb:${action}`], [this.table.tableArn], {
      conditions: {
        "ForAllValues:StringEquals": { "dynamodb:LeadingKeys": [partition] },
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

  grantQueryIndex(grantee: ServiceFunction): void {
    grantee.allow(["dynamodb:Query"], [`${this.table.tableArn}/index/${INDEX}`])
  }
}
