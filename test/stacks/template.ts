import { readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { App } from "aws-cdk-lib"
import { Template } from "aws-cdk-lib/assertions"
import { readContext } from "../../lib/context.ts"
import { SealwrightStack } from "../../lib/stacks/sealwright-stack.ts"

export const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
export const ACCOUNT = "111122223333"
export const REGION = "eu-central-1"

/** An app with the context of cdk.json, which decides what is synthesised, and bundling off. */
export function newApp(context: Readonly<Record<string, unknown>> = {}): App {
  const { context: own } = JSON.parse(readFileSync(join(ROOT, "cdk.json"), "utf8")) as { context: object }
  return new App({ context: { ...own, "aws:cdk:bundling-stacks": [], ...context } })
}

export function newStack(context: Readonly<Record<string, unknown>> = {}): SealwrightStack {
  const app = newApp(context)
  const { stackName, ...settings } = readContext((key) => app.node.tryGetContext(key))
  return new SealwrightStack(app, stackName, { settings, env: { account: ACCOUNT, region: REGION } })
}

export interface Resource {
  readonly id: string
  readonly type: string
  readonly properties: Json
  readonly deletionPolicy: string | undefined
  readonly replacePolicy: string | undefined
}

// biome-ignore lint/suspicious/noExplicitAny: a template is JSON without a schema
export type Json = any

/** The synthesised stack, with its references replaced by values as CloudFormation would. */
export function resourcesOf(stack: SealwrightStack): Resource[] {
  const template = Template.fromStack(stack).toJSON() as { Resources: Record<string, Json> }
  const types = new Map(Object.entries(template.Resources).map(([id, { Type }]) => [id, Type as string]))
  return Object.entries(template.Resources).map(([id, resource]) => ({
    id,
    type: resource.Type,
    properties: evaluate(resource.Properties ?? {}, types),
    deletionPolicy: resource.DeletionPolicy,
    replacePolicy: resource.UpdateReplacePolicy,
  }))
}

function evaluate(value: Json, types: ReadonlyMap<string, string>): Json {
  if (Array.isArray(value)) return value.map((member) => evaluate(member, types))
  if (typeof value !== "object" || value === null) return value
  const [entry] = Object.entries(value) as [string, Json][]
  if (entry?.[0] === "Ref") return reference(entry[1], types)
  if (entry?.[0] === "Fn::GetAtt") return attribute(entry[1][0], entry[1][1], types)
  if (entry?.[0] === "Fn::Join") return entry[1][1].map((part: Json) => evaluate(part, types)).join(entry[1][0])
  if (entry?.[0] === "Fn::Sub") return String(entry[1])
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, evaluate(member, types)]))
}

const PSEUDO: Readonly<Record<string, string>> = {
  "AWS::Partition": "aws",
  "AWS::AccountId": ACCOUNT,
  "AWS::Region": REGION,
  "AWS::URLSuffix": "amazonaws.com",
}

function reference(id: string, types: ReadonlyMap<string, string>): string {
  const pseudo = PSEUDO[id]
  if (pseudo !== undefined) return pseudo
  if (types.get(id) === "AWS::IAM::ManagedPolicy") return `arn:aws:iam::${ACCOUNT}:policy/${id}`
  return id
}

const ARNS: Readonly<Record<string, (id: string) => string>> = {
  "AWS::DynamoDB::Table": (id) => `arn:aws:dynamodb:${REGION}:${ACCOUNT}:table/${id}`,
  "AWS::S3::Bucket": (id) => `arn:aws:s3:::${id}`,
  "AWS::Lambda::Function": (id) => `arn:aws:lambda:${REGION}:${ACCOUNT}:function:${id}`,
  "AWS::IAM::Role": (id) => `arn:aws:iam::${ACCOUNT}:role/${id}`,
  "AWS::Logs::LogGroup": (id) => `arn:aws:logs:${REGION}:${ACCOUNT}:log-group:${id}:*`,
  "AWS::Events::Rule": (id) => `arn:aws:events:${REGION}:${ACCOUNT}:rule/${id}`,
}

function attribute(id: string, name: string, types: ReadonlyMap<string, string>): string {
  const arn = name === "Arn" ? ARNS[types.get(id) ?? ""] : undefined
  return arn === undefined ? `${id}.${name}` : arn(id)
}

export interface Statement {
  readonly Sid?: string
  readonly Effect: "Allow" | "Deny"
  readonly Principal?: Json
  readonly Action: string | string[]
  readonly Resource: string | string[]
  readonly Condition?: Json
}

export const listOf = <T>(value: T | readonly T[]): T[] => (Array.isArray(value) ? [...value] : [value as T])

/** What each function's role may do: `sign`, `records`, … -> statements of its policies. */
export function statementsByFunction(resources: readonly Resource[]): Map<string, Statement[]> {
  const roles = new Map<string, Statement[]>()
  for (const { id, properties } of resources.filter(({ type }) => type === "AWS::Lambda::Function")) {
    const name = functionName(id)
    const roleId = String(properties.Role).split("/").at(-1)
    const policies = resources.filter(
      ({ type, properties: policy }) => type === "AWS::IAM::Policy" && policy.Roles.includes(roleId),
    )
    roles.set(
      name,
      policies.flatMap((policy) => policy.properties.PolicyDocument.Statement as Statement[]),
    )
  }
  return roles
}

/** `ServiceSignFunction0123ABCD` -> `sign` */
export function functionName(logicalId: string): string {
  const name = /^Service(\w+)Function[0-9A-F]{8}$/.exec(logicalId)?.[1]
  if (name === undefined) throw new Error(`not a function of the service: ${logicalId}`)
  return name.toLowerCase()
}
