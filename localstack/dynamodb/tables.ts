import { AwsError } from "../http/aws-error.ts"
import { notFound, validation } from "./errors.ts"
import {
  flag,
  member,
  oneOf,
  optionalInteger,
  optionalText,
  type Reply,
  type Request,
  refuseMembers,
  requiredList,
  requiredRecord,
  requiredText,
} from "./request.ts"
import type { IndexSchema, KeyAttribute, KeySchema, KeyType, TableSchema } from "./schema.ts"
import type { Store, StoredTable } from "./store.ts"

const NAME = /^[A-Za-z0-9_.-]{3,255}$/
const MAX_INDEXES = 20
const MAX_TABLES_LISTED = 100

export interface Place {
  readonly region: string
  readonly account: string
}

/** @throws ValidationException on a malformed name, ResourceNotFoundException */
export function tableOf(store: Store, request: Request): StoredTable {
  const given = requiredText(request, "TableName")
  const name = given.startsWith("arn:") ? given.slice(given.indexOf("/") + 1) : given
  requireName(name)
  const table = store.table(name)
  if (!table) throw notFound()
  return table
}

function requireName(name: string): void {
  if (NAME.test(name)) return
  throw validation(
    "Invalid table/index name.  Table/index names must be between 3 and 255 characters long, and may contain only the characters a-z, A-Z, 0-9, '_', '-', and '.'",
  )
}

export function createTable(store: Store, request: Request, now: Date, place: Place): Reply {
  const name = requiredText(request, "TableName")
  requireName(name)
  refuseMembers(request, ["LocalSecondaryIndexes", "StreamSpecification", "ResourcePolicy", "OnDemandThroughput"])
  const types = attributeTypes(request)
  const billing = oneOf(request, "BillingMode", ["PROVISIONED", "PAY_PER_REQUEST"])
  requireThroughput(request, billing)
  const keys = keySchema(request, types)
  const wireIndexes =
    member(request, "GlobalSecondaryIndexes") === undefined
      ? []
      : requiredList(request, "GlobalSecondaryIndexes", 1, MAX_INDEXES)
  const indexes = wireIndexes.map((index, id) => indexSchema(index, types, id))
  if (new Set(indexes.map((index) => index.name)).size !== indexes.length) {
    throw validation("One or more parameter values were invalid: Duplicate index name")
  }
  requireAllUsed(types, [keys, ...indexes])
  if (store.table(name)) throw new AwsError("ResourceInUseException", `Table already exists: ${name}`)
  const arn = `arn:aws:dynamodb:${place.region}:${place.account}:table/${name}`
  const created = store.createTable(name, (id) => ({
    schema: { id, name, ...keys, indexes },
    description: {
      TableName: name,
      TableArn: arn,
      TableId: `00000000-0000-4000-8000-${String(id).padStart(12, "0")}`,
      TableStatus: "ACTIVE",
      AttributeDefinitions: member(request, "AttributeDefinitions"),
      KeySchema: member(request, "KeySchema"),
      CreationDateTime: now.getTime() / 1000,
      BillingModeSummary: { BillingMode: billing },
      ProvisionedThroughput: {
        NumberOfDecreasesToday: 0,
        ReadCapacityUnits: 0,
        WriteCapacityUnits: 0,
        ...(member(request, "ProvisionedThroughput") as object | undefined),
      },
      DeletionProtectionEnabled: flag(request, "DeletionProtectionEnabled"),
      ...(wireIndexes.length > 0 && {
        GlobalSecondaryIndexes: wireIndexes.map((index) => ({
          ...index,
          IndexStatus: "ACTIVE",
          IndexArn: `${arn}/index/${String(index.IndexName)}`,
        })),
      }),
    },
  }))
  return { TableDescription: describe(store, created) }
}

function attributeTypes(request: Request): Map<string, KeyType> {
  const types = new Map<string, KeyType>()
  for (const definition of requiredList(request, "AttributeDefinitions", 1, 100)) {
    const name = requiredText(definition, "AttributeName")
    requiredText(definition, "AttributeType")
    types.set(name, oneOf(definition, "AttributeType", ["S", "N", "B"]))
  }
  return types
}

function requireThroughput(request: Request, billing: "PROVISIONED" | "PAY_PER_REQUEST"): void {
  const given = member(request, "ProvisionedThroughput") !== undefined
  if (billing === "PAY_PER_REQUEST" && given) {
    throw validation(
      "One or more parameter values were invalid: Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST",
    )
  }
  if (billing === "PAY_PER_REQUEST") return
  const throughput = requiredRecord(request, "ProvisionedThroughput")
  for (const unit of ["ReadCapacityUnits", "WriteCapacityUnits"]) {
    if (optionalInteger(throughput, unit, 1, 1_000_000_000) === undefined) throw validation(`${unit} must be specified`)
  }
}

function keySchema(request: Request, types: ReadonlyMap<string, KeyType>): KeySchema {
  const [first, second] = requiredList(request, "KeySchema", 1, 2).map((element) => ({
    kind: oneOf(element, "KeyType", ["HASH", "RANGE"]),
    attribute: keyAttribute(requiredText(element, "AttributeName"), types),
  }))
  if (first?.kind !== "HASH" || (second && second.kind !== "RANGE")) {
    throw validation(
      "Invalid KeySchema: The first KeySchemaElement is not a HASH key type, or the second is not a RANGE key type",
    )
  }
  if (second?.attribute.name === first.attribute.name) {
    throw validation("Both the Hash Key and the Range Key element in the KeySchema have the same name")
  }
  return second ? { hash: first.attribute, range: second.attribute } : { hash: first.attribute }
}

function keyAttribute(name: string, types: ReadonlyMap<string, KeyType>): KeyAttribute {
  const type = types.get(name)
  if (type) return { name, type }
  throw validation(
    `One or more parameter values were invalid: Some index key attributes are not defined in AttributeDefinitions. Keys: [${name}]`,
  )
}

function indexSchema(index: Request, types: ReadonlyMap<string, KeyType>, id: number): IndexSchema {
  const name = requiredText(index, "IndexName")
  requireName(name)
  const projection = requiredRecord(index, "Projection")
  const type = oneOf(projection, "ProjectionType", ["ALL", "KEYS_ONLY", "INCLUDE"])
  const included = member(projection, "NonKeyAttributes")
  const isList = Array.isArray(included) && included.length > 0 && included.every((entry) => typeof entry === "string")
  if ((type === "INCLUDE") !== isList) {
    throw validation(
      `One or more parameter values were invalid: ProjectionType is ${type}, ${isList ? "but NonKeyAttributes is specified" : "but NonKeyAttributes is not specified"}`,
    )
  }
  return { id, name, ...keySchema(index, types), projection: type, included: isList ? included : [] }
}

function requireAllUsed(types: ReadonlyMap<string, KeyType>, schemas: readonly KeySchema[]): void {
  const used = new Set(schemas.flatMap(({ hash, range }) => [hash.name, range?.name]))
  if ([...types.keys()].every((name) => used.has(name))) return
  throw validation(
    "One or more parameter values were invalid: Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions",
  )
}

function describe(store: Store, { schema, description }: StoredTable): Reply {
  return { ...description, ItemCount: store.countItems(schema), TableSizeBytes: 0 }
}

export function describeTable(store: Store, request: Request): Reply {
  return { Table: describe(store, tableOf(store, request)) }
}

export function deleteTable(store: Store, request: Request): Reply {
  const table = tableOf(store, request)
  if (table.description.DeletionProtectionEnabled === true) {
    throw validation(
      "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.",
    )
  }
  const description = describe(store, table)
  store.deleteTable(table.schema)
  return { TableDescription: { ...description, TableStatus: "DELETING" } }
}

export function listTables(store: Store, request: Request): Reply {
  const limit = optionalInteger(request, "Limit", 1, MAX_TABLES_LISTED) ?? MAX_TABLES_LISTED
  const start = optionalText(request, "ExclusiveStartTableName")
  const names = store.tableNames().filter((name) => start === undefined || name > start)
  const page = names.slice(0, limit)
  return { TableNames: page, ...(names.length > limit && { LastEvaluatedTableName: page.at(-1) }) }
}

export function updateTimeToLive(store: Store, request: Request): Reply {
  const { schema, description } = tableOf(store, request)
  const specification = requiredRecord(request, "TimeToLiveSpecification")
  const AttributeName = requiredText(specification, "AttributeName")
  const Enabled = flag(specification, "Enabled")
  if (Enabled && schema.ttlAttribute !== undefined) throw validation("TimeToLive is already enabled")
  if (!Enabled && schema.ttlAttribute === undefined) throw validation("TimeToLive is already disabled")
  if (!Enabled && schema.ttlAttribute !== AttributeName) {
    throw validation(
      `TimeToLive is active on a different AttributeName: current AttributeName is ${schema.ttlAttribute}`,
    )
  }
  const { ttlAttribute: _, ...without } = schema
  const changed: TableSchema = Enabled ? { ...without, ttlAttribute: AttributeName } : without
  store.changeTable({ schema: changed, description })
  store.refreshExpiry(changed)
  return { TimeToLiveSpecification: { AttributeName, Enabled } }
}

export function describeTimeToLive(store: Store, request: Request): Reply {
  const { ttlAttribute } = tableOf(store, request).schema
  return {
    TimeToLiveDescription: {
      TimeToLiveStatus: ttlAttribute === undefined ? "DISABLED" : "ENABLED",
      ...(ttlAttribute !== undefined && { AttributeName: ttlAttribute }),
    },
  }
}

export function describeContinuousBackups(store: Store, request: Request): Reply {
  tableOf(store, request)
  return {
    ContinuousBackupsDescription: {
      ContinuousBackupsStatus: "ENABLED",
      PointInTimeRecoveryDescription: { PointInTimeRecoveryStatus: "DISABLED" },
    },
  }
}

export function updateContinuousBackups(store: Store, request: Request): Reply {
  tableOf(store, request)
  const specification = requiredRecord(request, "PointInTimeRecoverySpecification")
  if (flag(specification, "PointInTimeRecoveryEnabled")) {
    throw validation("Point-in-time recovery is not supported by this embedded DynamoDB")
  }
  return describeContinuousBackups(store, request)
}
