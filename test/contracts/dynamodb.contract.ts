import { randomUUID } from "node:crypto"
import {
  type AttributeValue,
  BatchGetItemCommand,
  BatchWriteItemCommand,
  CreateTableCommand,
  DeleteItemCommand,
  DeleteTableCommand,
  DescribeTableCommand,
  DescribeTimeToLiveCommand,
  type DynamoDBClient,
  GetItemCommand,
  ListTablesCommand,
  PutItemCommand,
  QueryCommand,
  type QueryCommandInput,
  ScanCommand,
  TransactGetItemsCommand,
  type TransactWriteItem,
  TransactWriteItemsCommand,
  UpdateItemCommand,
  type UpdateItemCommandInput,
  UpdateTimeToLiveCommand,
} from "@aws-sdk/client-dynamodb"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { failure } from "./stores.ts"

type Attributes = Record<string, AttributeValue>

const WRITERS = 16
const ROUNDS = 5

/** What the service expects of any DynamoDB: run it on the embedded one, DynamoDB Local, or AWS. */
export function dynamoDbContract(title: string, connect: () => DynamoDBClient): void {
  describe(`DynamoDB contract: ${title}`, () => {
    const TableName = `contract-${randomUUID()}`
    let db: DynamoDBClient
    const key = (pk: string, sk = 0): Attributes => ({ pk: { S: pk }, sk: { N: String(sk) } })
    const put = (item: Attributes, more: object = {}) => db.send(new PutItemCommand({ TableName, Item: item, ...more }))
    const get = async (at: Attributes) =>
      (await db.send(new GetItemCommand({ TableName, Key: at, ConsistentRead: true }))).Item
    const update = (at: Attributes, input: Partial<UpdateItemCommandInput>) =>
      db.send(new UpdateItemCommand({ TableName, Key: at, ...input }))
    const query = (input: Partial<QueryCommandInput>) => db.send(new QueryCommand({ TableName, ...input }))
    const transact = (items: TransactWriteItem[], ClientRequestToken?: string) =>
      db.send(
        new TransactWriteItemsCommand({ TransactItems: items, ...(ClientRequestToken && { ClientRequestToken }) }),
      )

    beforeAll(async () => {
      db = connect()
      await db.send(
        new CreateTableCommand({
          TableName,
          BillingMode: "PAY_PER_REQUEST",
          AttributeDefinitions: [
            { AttributeName: "pk", AttributeType: "S" },
            { AttributeName: "sk", AttributeType: "N" },
            { AttributeName: "owner", AttributeType: "S" },
          ],
          KeySchema: [
            { AttributeName: "pk", KeyType: "HASH" },
            { AttributeName: "sk", KeyType: "RANGE" },
          ],
          GlobalSecondaryIndexes: [
            {
              IndexName: "by-owner",
              KeySchema: [
                { AttributeName: "owner", KeyType: "HASH" },
                { AttributeName: "sk", KeyType: "RANGE" },
              ],
              Projection: { ProjectionType: "INCLUDE", NonKeyAttributes: ["colour"] },
            },
          ],
        }),
      )
    })

    afterAll(async () => {
      await db.send(new DeleteTableCommand({ TableName }))
      db.destroy()
    })

    test("a table is described, listed, and made only once", async () => {
      const { Table } = await db.send(new DescribeTableCommand({ TableName }))
      expect(Table).toMatchObject({
        TableName,
        TableStatus: "ACTIVE",
        BillingModeSummary: { BillingMode: "PAY_PER_REQUEST" },
      })
      expect((await db.send(new ListTablesCommand({}))).TableNames).toContain(TableName)
      const again = new CreateTableCommand({
        TableName,
        BillingMode: "PAY_PER_REQUEST",
        AttributeDefinitions: [{ AttributeName: "pk", AttributeType: "S" }],
        KeySchema: [{ AttributeName: "pk", KeyType: "HASH" }],
      })
      expect((await failure(db.send(again))).name).toBe("ResourceInUseException")
      const nowhere = new GetItemCommand({ TableName: "no-such-table", Key: key("a") })
      expect((await failure(db.send(nowhere))).name).toBe("ResourceNotFoundException")
    })

    test("every type comes back as it went in", async () => {
      const item: Attributes = {
        ...key("types"),
        s: { S: "ünïcode 🗝" },
        n: { N: "-12.5" },
        b: { B: new Uint8Array([0, 255, 7]) },
        flag: { BOOL: false },
        none: { NULL: true },
        ss: { SS: ["a", "b"] },
        ns: { NS: ["1", "2"] },
        bs: { BS: [new Uint8Array([1]), new Uint8Array([2])] },
        l: { L: [{ S: "x" }, { M: { deep: { L: [] } } }] },
        m: { M: { empty: { S: "" }, "a name.with[marks]": { N: "1" } } },
      }
      await put(item)
      expect(await get(key("types"))).toEqual(item)
    })

    test.each([
      ["1e3", "1000"],
      ["-0.00", "0"],
      [".50", "0.5"],
      ["+7", "7"],
      ["12345678901234567890123456789012345678", "12345678901234567890123456789012345678"],
    ])("number %s is stored as %s", async (written, read) => {
      await put({ ...key("numbers"), n: { N: written } })
      expect((await get(key("numbers")))?.n).toEqual({ N: read })
    })

    test.each<[string, Attributes]>([
      ["39 digits", { n: { N: "1".repeat(39) } }],
      ["a magnitude of 1e126", { n: { N: "1e126" } }],
      ["a magnitude of 1e-131", { n: { N: "1e-131" } }],
      ["no number", { n: { N: "12x" } }],
      ["an empty set", { n: { SS: [] } }],
      ["a set with a repeated entry", { n: { NS: ["1", "1.0"] } }],
      ["an item above 400 KB", { n: { S: "x".repeat(400 * 1024) } }],
      ["an empty key", { pk: { S: "" } }],
      ["a key of another type", { sk: { S: "1" } }],
    ])("an item with %s is refused", async (_, bad) => {
      expect((await failure(put({ ...key("refused"), ...bad }))).name).toBe("ValidationException")
      expect(await get(key("refused"))).toBeUndefined()
    })

    test("an item of just 400 KB is stored", async () => {
      const names = "pk".length + "sk".length + "n".length
      const rest = "big".length + 2 + names
      await put({ ...key("big", 1), n: { S: "x".repeat(400 * 1024 - rest) } })
      expect((await get(key("big", 1)))?.n?.S).toHaveLength(400 * 1024 - rest)
    })

    const subject: Attributes = {
      ...key("subject"),
      count: { N: "5" },
      word: { S: "hello" },
      list: { L: [{ N: "1" }, { N: "2" }] },
      map: { M: { inner: { S: "x" } } },
      tags: { SS: ["x", "y"] },
    }

    test.each<[boolean, string, Attributes?]>([
      [true, "attribute_exists(pk) AND attribute_not_exists(absent)"],
      [false, "attribute_not_exists(pk)"],
      [true, "#count = :v", { ":v": { N: "5.0" } }],
      [true, "#count <> :v", { ":v": { S: "5" } }],
      [true, "absent <> :v", { ":v": { S: "5" } }],
      [false, "absent = :v OR absent < :v", { ":v": { S: "5" } }],
      [true, "#count BETWEEN :a AND :b", { ":a": { N: "4.9" }, ":b": { N: "10" } }],
      [false, "NOT #count IN (:a, :b)", { ":a": { N: "4" }, ":b": { N: "5" } }],
      [true, "begins_with(word, :v) AND contains(word, :w)", { ":v": { S: "he" }, ":w": { S: "ell" } }],
      [true, "contains(tags, :v) AND contains(#list, :w)", { ":v": { S: "y" }, ":w": { N: "2" } }],
      [true, "size(word) = :v AND size(#list) < :v AND size(tags) < :v", { ":v": { N: "5" } }],
      [true, "attribute_type(#map, :v)", { ":v": { S: "M" } }],
      [true, "#map.#inner = :x AND #list[1] = :two", { ":x": { S: "x" }, ":two": { N: "2" } }],
      [true, "tags = :v", { ":v": { SS: ["y", "x"] } }],
      [true, "#count = :v OR absent = :v AND absent = :v", { ":v": { N: "5" } }],
      [false, "(#count = :v OR absent = :v) AND absent = :v", { ":v": { N: "5" } }],
    ])("condition is %s: %s", async (expected, condition, values) => {
      await put(subject)
      const names = Object.fromEntries(
        ["count", "list", "map", "inner"]
          .filter((name) => condition.includes(`#${name}`))
          .map((name) => [`#${name}`, name]),
      )
      const attempt = put(subject, {
        ConditionExpression: condition,
        ...(values && { ExpressionAttributeValues: values }),
        ...(Object.keys(names).length > 0 && { ExpressionAttributeNames: names }),
      })
      if (expected) await attempt
      else expect((await failure(attempt)).name).toBe("ConditionalCheckFailedException")
    })

    test.each<[string, string, object]>([
      ["a reserved word", "attribute_exists(name)", {}],
      ["an unused value", "attribute_exists(pk)", { ExpressionAttributeValues: { ":v": { S: "x" } } }],
      ["an unused name", "attribute_exists(pk)", { ExpressionAttributeNames: { "#v": "x" } }],
      ["a missing value", "word = :v", {}],
      ["a missing name", "attribute_exists(#v)", {}],
      ["a syntax error", "word = = word", {}],
      ["an unknown function", "exists(word)", {}],
      ["redundant parentheses", "((attribute_exists(pk)))", {}],
      ["a bare path", "word", {}],
      ["a leading underscore", "attribute_exists(_word)", {}],
      ["one operand on both sides", "word = word", {}],
      [
        "reversed bounds",
        "sk BETWEEN :a AND :b",
        { ExpressionAttributeValues: { ":a": { N: "2" }, ":b": { N: "1" } } },
      ],
      ["a literal without order", "word < :v", { ExpressionAttributeValues: { ":v": { BOOL: true } } }],
    ])("an expression with %s is refused", async (_, ConditionExpression, more) => {
      const attempt = put(subject, { ConditionExpression, ...more })
      expect((await failure(attempt)).name).toBe("ValidationException")
    })

    test("a failed condition shows the item when asked", async () => {
      await put(subject)
      const error = await failure(
        put(subject, {
          ConditionExpression: "attribute_not_exists(pk)",
          ReturnValuesOnConditionCheckFailure: "ALL_OLD",
        }),
      )
      expect(error).toMatchObject({ name: "ConditionalCheckFailedException", Item: subject })
    })

    test("updates: SET with arithmetic, defaults and lists; REMOVE; ADD; DELETE", async () => {
      const at = key("update")
      await put({
        ...at,
        a: { N: "0.1" },
        list: { L: [{ N: "1" }, { N: "2" }, { N: "3" }] },
        tags: { SS: ["x", "y"] },
        gone: { S: "" },
      })
      const { Attributes } = await update(at, {
        UpdateExpression: `SET a = a + :tenth, b = if_not_exists(b, :tenth) - :one, listed = list_append(#list, :more), m = :m
          REMOVE gone, #list[0], #list[2] ADD visits :one, tags :z, fresh :z DELETE absent :z`,
        ExpressionAttributeNames: { "#list": "list" },
        ExpressionAttributeValues: {
          ":tenth": { N: "0.2" },
          ":one": { N: "1" },
          ":more": { L: [{ S: "end" }] },
          ":m": { M: { k: { N: "1" } } },
          ":z": { SS: ["z"] },
        },
        ReturnValues: "ALL_NEW",
      })
      expect(Attributes).toEqual({
        ...at,
        a: { N: "0.3" },
        b: { N: "-0.8" },
        list: { L: [{ N: "2" }] },
        listed: { L: [{ N: "1" }, { N: "2" }, { N: "3" }, { S: "end" }] },
        m: { M: { k: { N: "1" } } },
        visits: { N: "1" },
        tags: { SS: ["x", "y", "z"] },
        fresh: { SS: ["z"] },
      })
      const nested = await update(at, {
        UpdateExpression: "SET m.k = :v, m.n = :v, #list[9] = :v DELETE tags :all",
        ExpressionAttributeNames: { "#list": "list" },
        ExpressionAttributeValues: { ":v": { N: "7" }, ":all": { SS: ["x", "y", "z"] } },
        ReturnValues: "ALL_NEW",
      })
      expect(nested.Attributes).toMatchObject({
        m: { M: { k: { N: "7" }, n: { N: "7" } } },
        list: { L: [{ N: "2" }, { N: "7" }] },
      })
      expect(nested.Attributes).not.toHaveProperty("tags")
    })

    test.each<[string, Attributes?]>([
      ["SET absent.child = :v", { ":v": { N: "1" } }],
      ["SET a = absent"],
      ["SET a = word + :v", { ":v": { N: "1" } }],
      ["SET pk = :v", { ":v": { S: "other" } }],
      ["SET a = :v, a.b = :v", { ":v": { N: "1" } }],
      ["SET a = :v SET b = :v", { ":v": { N: "1" } }],
      ["SET a = :v + :v + :v", { ":v": { N: "1" } }],
      ["ADD word :v", { ":v": { N: "1" } }],
      ["ADD a :v", { ":v": { S: "x" } }],
      ["DELETE word :v", { ":v": { SS: ["x"] } }],
      ["SET a = list_append(word, :v)", { ":v": { L: [] } }],
    ])("update refused, and nothing changed: %s", async (UpdateExpression, values) => {
      const item = { ...key("kept"), word: { S: "w" } }
      await put(item)
      const attempt = update(key("kept"), { UpdateExpression, ...(values && { ExpressionAttributeValues: values }) })
      expect((await failure(attempt)).name).toBe("ValidationException")
      expect(await get(key("kept"))).toEqual(item)
    })

    test("ReturnValues: the five kinds, for items that were there and that were not", async () => {
      const at = key("returned")
      const set = (ReturnValues: UpdateItemCommandInput["ReturnValues"], v: string) =>
        update(at, { UpdateExpression: "SET v = :v", ExpressionAttributeValues: { ":v": { S: v } }, ReturnValues })
      expect((await set("ALL_OLD", "1")).Attributes).toBeUndefined()
      expect((await set("UPDATED_OLD", "2")).Attributes).toEqual({ v: { S: "1" } })
      expect((await set("UPDATED_NEW", "3")).Attributes).toEqual({ v: { S: "3" } })
      expect((await set("ALL_OLD", "4")).Attributes).toEqual({ ...at, v: { S: "3" } })
      expect((await set("ALL_NEW", "5")).Attributes).toEqual({ ...at, v: { S: "5" } })
      expect((await set("NONE", "6")).Attributes).toBeUndefined()
      const removed = await db.send(new DeleteItemCommand({ TableName, Key: at, ReturnValues: "ALL_OLD" }))
      expect(removed.Attributes).toEqual({ ...at, v: { S: "6" } })
      expect(await get(at)).toBeUndefined()
    })

    test("a query pages in numeric order, both ways, with and without a filter", async () => {
      const numbers = [-20, -3.5, -0.001, 0, 0.5, 2, 10, 100]
      for (const sk of numbers) await put({ ...key("page", sk), even: { BOOL: numbers.indexOf(sk) % 2 === 0 } })
      const collect = async (input: Partial<QueryCommandInput>) => {
        const found: number[] = []
        let start: Attributes | undefined
        let pages = 0
        do {
          const page = await query({ ...input, ...(start && { ExclusiveStartKey: start }) })
          found.push(...(page.Items ?? []).map((item) => Number(item.sk?.N)))
          start = page.LastEvaluatedKey
          pages += 1
        } while (start)
        return { found, pages }
      }
      const all = { KeyConditionExpression: "pk = :p", ExpressionAttributeValues: { ":p": { S: "page" } } }
      expect(await collect({ ...all, Limit: 3 })).toEqual({ found: numbers, pages: 3 })
      expect((await collect({ ...all, Limit: 8 })).pages).toBe(2)
      expect((await collect({ ...all, Limit: 3, ScanIndexForward: false })).found).toEqual(numbers.toReversed())
      const from = (condition: string, a: string, b?: string) =>
        collect({
          KeyConditionExpression: `pk = :p AND ${condition}`,
          ExpressionAttributeValues: { ":p": { S: "page" }, ":a": { N: a }, ...(b && { ":b": { N: b } }) },
        })
      expect((await from("sk < :a", "-0.001")).found).toEqual([-20, -3.5])
      expect((await from("sk >= :a", "2")).found).toEqual([2, 10, 100])
      expect((await from("sk BETWEEN :a AND :b", "-3.5", "0.5")).found).toEqual([-3.5, -0.001, 0, 0.5])
      const filtered = await query({
        ...all,
        Limit: 4,
        FilterExpression: "even = :t",
        ExpressionAttributeValues: { ...all.ExpressionAttributeValues, ":t": { BOOL: true } },
      })
      expect(filtered).toMatchObject({ Count: 2, ScannedCount: 4 })
      expect(filtered.LastEvaluatedKey).toEqual(key("page", 0))
      const counted = await query({ ...all, Select: "COUNT" })
      expect(counted.Count).toBe(8)
      expect(counted.Items).toBeUndefined()
    })

    test("a page ends at 1 MB", async () => {
      for (let sk = 0; sk < 4; sk++) await put({ ...key("heavy", sk), body: { S: "x".repeat(350_000) } })
      const all = { KeyConditionExpression: "pk = :p", ExpressionAttributeValues: { ":p": { S: "heavy" } } }
      const first = await query(all)
      expect(first.Count).toBe(3)
      const second = await query({ ...all, ExclusiveStartKey: first.LastEvaluatedKey })
      expect(second.Count).toBe(1)
      expect(second.LastEvaluatedKey).toBeUndefined()
    })

    test("a global index holds only items with its key, shows only what it projects, and pages over equal keys", async () => {
      for (let i = 0; i < 5; i++) {
        await put({ ...key(`indexed-${i}`, 1), owner: { S: "ann" }, colour: { S: "red" }, hidden: { S: "x" } })
      }
      await put({ ...key("indexed-5", 1), colour: { S: "red" } })
      const owned = {
        IndexName: "by-owner",
        KeyConditionExpression: "#owner = :o",
        ExpressionAttributeNames: { "#owner": "owner" },
        ExpressionAttributeValues: { ":o": { S: "ann" } },
      }
      const found = new Set<string | undefined>()
      let start: Attributes | undefined
      do {
        const page = await query({ ...owned, Limit: 2, ...(start && { ExclusiveStartKey: start }) })
        for (const item of page.Items ?? []) {
          expect(Object.keys(item).sort()).toEqual(["colour", "owner", "pk", "sk"])
          found.add(item.pk?.S)
        }
        start = page.LastEvaluatedKey
      } while (start)
      expect(found.size).toBe(5)
      expect((await failure(query({ ...owned, ConsistentRead: true }))).name).toBe("ValidationException")
      await update(key("indexed-0", 1), { UpdateExpression: "REMOVE #o", ExpressionAttributeNames: { "#o": "owner" } })
      await db.send(new DeleteItemCommand({ TableName, Key: key("indexed-1", 1) }))
      expect((await query(owned)).Count).toBe(3)
    })

    test.each<[string, Partial<QueryCommandInput>]>([
      ["without the hash key", { KeyConditionExpression: "sk = :n", ExpressionAttributeValues: { ":n": { N: "1" } } }],
      ["with OR", { KeyConditionExpression: "pk = :p OR pk = :p", ExpressionAttributeValues: { ":p": { S: "a" } } }],
      [
        "with a range on the hash key",
        { KeyConditionExpression: "pk < :p", ExpressionAttributeValues: { ":p": { S: "a" } } },
      ],
      [
        "with <>",
        {
          KeyConditionExpression: "pk = :p AND sk <> :n",
          ExpressionAttributeValues: { ":p": { S: "a" }, ":n": { N: "1" } },
        },
      ],
      [
        "with a value of another type",
        { KeyConditionExpression: "pk = :n", ExpressionAttributeValues: { ":n": { N: "1" } } },
      ],
      [
        "with Limit 0",
        { KeyConditionExpression: "pk = :p", ExpressionAttributeValues: { ":p": { S: "a" } }, Limit: 0 },
      ],
      [
        "on an unknown index",
        { IndexName: "nope", KeyConditionExpression: "pk = :p", ExpressionAttributeValues: { ":p": { S: "a" } } },
      ],
      [
        "with a filter on a key",
        {
          KeyConditionExpression: "pk = :p",
          FilterExpression: "sk = :n",
          ExpressionAttributeValues: { ":p": { S: "a" }, ":n": { N: "1" } },
        },
      ],
      [
        "started in another partition",
        {
          KeyConditionExpression: "pk = :p",
          ExpressionAttributeValues: { ":p": { S: "a" } },
          ExclusiveStartKey: key("b"),
        },
      ],
    ])("a query %s is refused", async (_, input) => {
      expect((await failure(query(input))).name).toBe("ValidationException")
    })

    test("a table without a range key, with a binary hash key", async () => {
      const bare = `${TableName}-bare`
      await db.send(
        new CreateTableCommand({
          TableName: bare,
          BillingMode: "PAY_PER_REQUEST",
          AttributeDefinitions: [{ AttributeName: "id", AttributeType: "B" }],
          KeySchema: [{ AttributeName: "id", KeyType: "HASH" }],
        }),
      )
      const ids = [Uint8Array.of(0), Uint8Array.of(0, 0), Uint8Array.of(255)]
      for (const id of ids) await db.send(new PutItemCommand({ TableName: bare, Item: { id: { B: id } } }))
      const found = await db.send(
        new QueryCommand({
          TableName: bare,
          KeyConditionExpression: "id = :id",
          ExpressionAttributeValues: { ":id": { B: Uint8Array.of(0) } },
        }),
      )
      expect(found.Items).toEqual([{ id: { B: Uint8Array.of(0) } }])
      await db.send(new DeleteItemCommand({ TableName: bare, Key: { id: { B: Uint8Array.of(0) } } }))
      expect((await db.send(new ScanCommand({ TableName: bare }))).Count).toBe(2)
      await db.send(new DeleteTableCommand({ TableName: bare }))
    })

    test("a query by prefix of a string range key", async () => {
      const words = `${TableName}-words`
      await db.send(
        new CreateTableCommand({
          TableName: words,
          BillingMode: "PAY_PER_REQUEST",
          AttributeDefinitions: [
            { AttributeName: "pk", AttributeType: "S" },
            { AttributeName: "word", AttributeType: "S" },
          ],
          KeySchema: [
            { AttributeName: "pk", KeyType: "HASH" },
            { AttributeName: "word", KeyType: "RANGE" },
          ],
        }),
      )
      for (const word of ["a#", "a#1", "a#\u{1f511}", "a$", "b#1", "\u{10ffff}1"]) {
        await db.send(new PutItemCommand({ TableName: words, Item: { pk: { S: "w" }, word: { S: word } } }))
      }
      const starting = async (prefix: string) => {
        const { Items } = await db.send(
          new QueryCommand({
            TableName: words,
            KeyConditionExpression: "pk = :p AND begins_with(word, :w)",
            ExpressionAttributeValues: { ":p": { S: "w" }, ":w": { S: prefix } },
          }),
        )
        return Items?.map(({ word }) => word?.S)
      }
      expect(await starting("a#")).toEqual(["a#", "a#1", "a#\u{1f511}"])
      expect(await starting("\u{10ffff}")).toEqual(["\u{10ffff}1"])
      expect(await starting("c")).toEqual([])
      await db.send(new DeleteTableCommand({ TableName: words }))
    })

    test("a parallel scan meets every item exactly once", async () => {
      const seen: string[] = []
      for (let Segment = 0; Segment < 3; Segment++) {
        let start: Attributes | undefined
        do {
          const page = await db.send(
            new ScanCommand({
              TableName,
              Segment,
              TotalSegments: 3,
              Limit: 7,
              ...(start && { ExclusiveStartKey: start }),
            }),
          )
          seen.push(...(page.Items ?? []).map(({ pk, sk }) => `${pk?.S}/${sk?.N}`))
          start = page.LastEvaluatedKey
        } while (start)
      }
      const whole = await db.send(new ScanCommand({ TableName, ProjectionExpression: "pk, sk" }))
      expect(seen.length).toBeGreaterThan(10)
      expect(new Set(seen).size).toBe(seen.length)
      if (!whole.LastEvaluatedKey) expect(seen.length).toBe(whole.Count)
    })

    test("a batch writes and reads up to its limits, and refuses repeated keys", async () => {
      const puts = Array.from({ length: 25 }, (_, sk) => ({
        PutRequest: { Item: { ...key("batch", sk), v: { N: String(sk) } } },
      }))
      const write = (requests: object[]) =>
        db.send(new BatchWriteItemCommand({ RequestItems: { [TableName]: requests } }))
      expect((await write(puts)).UnprocessedItems).toEqual({})
      const keys = puts.map((_, sk) => key("batch", sk))
      const read = await db.send(
        new BatchGetItemCommand({
          RequestItems: { [TableName]: { Keys: [...keys, key("nobody")], ProjectionExpression: "v" } },
        }),
      )
      expect(read.Responses?.[TableName]?.map((item) => item.v?.N).sort()).toEqual(
        puts.map((_, sk) => String(sk)).sort(),
      )
      await write([{ DeleteRequest: { Key: key("batch", 0) } }, { DeleteRequest: { Key: key("nobody") } }])
      expect(await get(key("batch", 0))).toBeUndefined()
      const twice = { PutRequest: { Item: key("batch", 1) } }
      expect((await failure(write([twice, twice]))).name).toBe("ValidationException")
      const more = [...puts, { PutRequest: { Item: key("batch", 25) } }]
      expect((await failure(write(more))).name).toBe("ValidationException")
    })

    test("a transaction does all four actions, or nothing with its reasons in order", async () => {
      await put({ ...key("tx", 1), v: { N: "1" } })
      await put(key("tx", 2))
      const check = (sk: number, ConditionExpression: string) => ({
        ConditionCheck: { TableName, Key: key("tx", sk), ConditionExpression },
      })
      const bump = {
        Update: {
          TableName,
          Key: key("tx", 1),
          UpdateExpression: "SET v = v + :one",
          ExpressionAttributeValues: { ":one": { N: "1" } },
        },
      }
      await transact([
        bump,
        { Delete: { TableName, Key: key("tx", 2) } },
        { Put: { TableName, Item: key("tx", 3), ConditionExpression: "attribute_not_exists(pk)" } },
        check(4, "attribute_not_exists(pk)"),
      ])
      const read = await db.send(
        new TransactGetItemsCommand({
          TransactItems: [1, 2, 3].map((sk) => ({ Get: { TableName, Key: key("tx", sk) } })),
        }),
      )
      expect(read.Responses?.map(({ Item }) => Item)).toEqual([
        { ...key("tx", 1), v: { N: "2" } },
        undefined,
        key("tx", 3),
      ])
      const error = await failure(
        transact([
          bump,
          {
            Put: {
              TableName,
              Item: key("tx", 3),
              ConditionExpression: "attribute_not_exists(pk)",
              ReturnValuesOnConditionCheckFailure: "ALL_OLD",
            },
          },
          { Put: { TableName, Item: key("tx", 5) } },
          check(4, "attribute_exists(pk)"),
        ]),
      )
      expect(error.name).toBe("TransactionCanceledException")
      expect(error.CancellationReasons).toMatchObject([
        { Code: "None" },
        { Code: "ConditionalCheckFailed", Item: key("tx", 3) },
        { Code: "None" },
        { Code: "ConditionalCheckFailed" },
      ])
      expect(await get(key("tx", 1))).toMatchObject({ v: { N: "2" } })
      expect(await get(key("tx", 5))).toBeUndefined()
    })

    test("a transaction refuses two actions on one item, and more than 100", async () => {
      const one = { Put: { TableName, Item: key("limits") } }
      expect((await failure(transact([one, one]))).name).toBe("ValidationException")
      const many = Array.from({ length: 101 }, (_, sk) => ({ Put: { TableName, Item: key("limits", sk) } }))
      expect((await failure(transact(many))).name).toBe("ValidationException")
      await transact(many.slice(1))
      expect(await get(key("limits", 0))).toBeUndefined()
      expect(await get(key("limits", 100))).toEqual(key("limits", 100))
    })

    test("a transaction above 4 MB is refused", async () => {
      const big = Array.from({ length: 11 }, (_, sk) => ({
        Put: { TableName, Item: { ...key("4mb", sk), v: { S: "x".repeat(400_000) } } },
      }))
      expect((await failure(transact(big))).name).toBe("ValidationException")
      expect(await get(key("4mb", 0))).toBeUndefined()
    })

    test("a client request token makes a repeated transaction count once, and binds its content", async () => {
      const token = randomUUID()
      const add = (one: string) => [
        {
          Update: {
            TableName,
            Key: key("token"),
            UpdateExpression: "ADD v :one",
            ExpressionAttributeValues: { ":one": { N: one } },
          },
        },
      ]
      await transact(add("1"), token)
      await transact(add("1"), token)
      expect((await get(key("token")))?.v).toEqual({ N: "1" })
      expect((await failure(transact(add("2"), token))).name).toBe("IdempotentParameterMismatchException")
      expect((await get(key("token")))?.v).toEqual({ N: "1" })
    })

    test(`${WRITERS} writers race for the head of a chain, and the chain stays whole`, async () => {
      await put({ ...key("head"), size: { N: "0" } })
      let commits = 0
      const writer = async (id: number) => {
        for (let round = 0; round < ROUNDS; round++) {
          const size = Number((await get(key("head")))?.size?.N)
          const attempt = transact([
            {
              Update: {
                TableName,
                Key: key("head"),
                UpdateExpression: "SET #size = :next",
                ConditionExpression: "#size = :size",
                ExpressionAttributeNames: { "#size": "size" },
                ExpressionAttributeValues: { ":size": { N: String(size) }, ":next": { N: String(size + 1) } },
              },
            },
            {
              Put: {
                TableName,
                Item: { ...key("chain", size), by: { N: String(id) } },
                ConditionExpression: "attribute_not_exists(pk)",
              },
            },
          ])
          try {
            await attempt
            commits += 1
          } catch (error) {
            expect((error as Error).name).toBe("TransactionCanceledException")
          }
        }
      }
      await Promise.all(Array.from({ length: WRITERS }, (_, id) => writer(id)))
      const size = Number((await get(key("head")))?.size?.N)
      const chain = await query({
        KeyConditionExpression: "pk = :p",
        ExpressionAttributeValues: { ":p": { S: "chain" } },
        ConsistentRead: true,
      })
      expect(size).toBe(commits)
      expect(chain.Items?.map(({ sk }) => Number(sk?.N))).toEqual(Array.from({ length: size }, (_, at) => at))
      expect(commits).toBeGreaterThanOrEqual(ROUNDS)
    })

    test("parallel ADDs lose nothing", async () => {
      const add = () =>
        update(key("sum"), { UpdateExpression: "ADD v :one", ExpressionAttributeValues: { ":one": { N: "1" } } })
      await Promise.all(Array.from({ length: WRITERS * ROUNDS }, add))
      expect((await get(key("sum")))?.v).toEqual({ N: String(WRITERS * ROUNDS) })
    })

    test("time to live is switched on once", async () => {
      const on = new UpdateTimeToLiveCommand({
        TableName,
        TimeToLiveSpecification: { AttributeName: "expires", Enabled: true },
      })
      await db.send(on)
      expect((await failure(db.send(on))).name).toBe("ValidationException")
      const { TimeToLiveDescription } = await db.send(new DescribeTimeToLiveCommand({ TableName }))
      expect(TimeToLiveDescription).toMatchObject({ AttributeName: "expires" })
      expect(["ENABLING", "ENABLED"]).toContain(TimeToLiveDescription?.TimeToLiveStatus)
    })

    test("consumed capacity is answered", async () => {
      const { ConsumedCapacity } = await put(
        { ...key("capacity"), v: { S: "x".repeat(1500) } },
        { ReturnConsumedCapacity: "TOTAL" },
      )
      expect(ConsumedCapacity).toMatchObject({ TableName, CapacityUnits: 2 })
    })
  })
}
