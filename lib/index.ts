/** For CDK apps of your own: `new SigningService(stack, "Signing")`. */
export type { PublicHost } from "./constructs/publication.ts"
export { SigningService, type SigningServiceProps } from "./constructs/signing-service.ts"
export { SealwrightStack, type SealwrightStackProps } from "./stacks/sealwright-stack.ts"
