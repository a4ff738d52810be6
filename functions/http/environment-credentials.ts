/**
 * Stands in the bundles for the SDK's search through files, metadata services and sign-on: a function has the credentials of its role in its
 * environment and must look nowhere else. A quarter smaller, and nothing in the function reads profiles.
 */
export interface EnvironmentCredentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string
}

/**
 * The SDK's default provider, by its name and shape. It asks for each request; a function's credentials stay the same as long as its process.
 * @throws Error when the environment has no credentials
 */
export function defaultProvider(): () => Promise<EnvironmentCredentials> {
  let known: EnvironmentCredentials | undefined
  return async () => {
    known ??= readCredentials()
    return known
  }
}

function readCredentials(): EnvironmentCredentials {
  const {
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    AWS_SESSION_TOKEN: sessionToken,
  } = process.env
  if (!accessKeyId || !secretAccessKey) throw new Error("the environment has no AWS credentials")
  return { accessKeyId, secretAccessKey, ...(sessionToken && { sessionToken }) }
}
