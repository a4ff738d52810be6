import { array, openObject, string } from "@sealwright/formats/shape"
import type { ServiceClient } from "./client.ts"
import { usage } from "./exit.ts"

/** There is no default profile where there are several (D14). */
export async function onlyProfile(client: ServiceClient): Promise<string> {
  const answer = await client.get("/v1/profiles")
  const { profiles } = openObject({ profiles: array(openObject({ name: string(48) }), 100_000) })(answer, "answer")
  const [only] = profiles
  if (only === undefined || profiles.length > 1)
    throw usage(`there are ${profiles.length} profiles`, "Name one with --profile.")
  return only.name
}
