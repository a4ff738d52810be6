/**
 * Stands in the bundles for the SDK's search for DynamoDB's endpoints, which is off unless an environment turns it on: a function calls the endpoint of
 * its Region and asks nobody for another. Four dependencies and 9 KB less.
 */
export const NODE_ENDPOINT_DISCOVERY_CONFIG_OPTIONS = {
  environmentVariableSelector: () => undefined,
  configFileSelector: () => undefined,
  default: false,
}

export function resolveEndpointDiscoveryConfig<Config>(config: Config): Config {
  return config
}
