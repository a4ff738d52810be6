/** For CDK apps of your own: `new SigningService(stack, "Signing")`. */
export { awsKms, type CloudHsmProps, cloudHsm, type KeyHome } from "./constructs/key-home.ts"
export type { PublicHost } from "./constructs/publication.ts"
export { SigningService, type SigningServiceProps } from "./constructs/signing-service.ts"
export { SealwrightStack, type SealwrightStackProps } from "./stacks/sealwright-stack.ts"
