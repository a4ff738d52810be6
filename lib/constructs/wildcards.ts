import { Stack, Validations } from "aws-cdk-lib"
import type { IConstruct } from "constructs"

/**
 * Explains every wildcard among the resources that a role or policy is granted, one acknowledgement each, so that a wildcard that comes
 * later rings again.
 */
export function acknowledgeWildcards(scope: IConstruct, resources: readonly string[], reason: string): void {
  const named = resources.map((resource) => flatten(Stack.of(scope).resolve(resource)))
  for (const resource of named.filter((name) => name.includes("*")))
    Validations.of(scope).acknowledge({ id: `AwsSolutions-IAM5[Resource::${resource}]`, reason })
}

/** A resolved value as cdk-nag names it: a reference as `<LogicalId>`, an attribute as `<LogicalId.Attribute>`. */
function flatten(value: unknown): string {
  if (typeof value === "string") return value
  if (typeof value === "object" && value !== null) {
    const [intrinsic] = Object.entries(value)
    if (intrinsic?.[0] === "Ref") return `<${String(intrinsic[1])}>`
    if (intrinsic?.[0] === "Fn::GetAtt") return `<${(intrinsic[1] as string[]).join(".")}>`
    if (intrinsic?.[0] === "Fn::Join") return (intrinsic[1] as [string, unknown[]])[1].map(flatten).join("")
  }
  throw new TypeError(`a resource that has no name: ${JSON.stringify(value)}`)
}
