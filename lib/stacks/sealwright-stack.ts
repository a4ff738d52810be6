import { CfnOutput, Stack, type StackProps } from "aws-cdk-lib"
import { Certificate } from "aws-cdk-lib/aws-certificatemanager"
import { Topic } from "aws-cdk-lib/aws-sns"
import type { Construct } from "constructs"
import { SigningService } from "../constructs/signing-service.ts"
import type { ContextSettings } from "../context.ts"

export interface SealwrightStackProps extends StackProps {
  readonly settings: Omit<ContextSettings, "stackName">
}

/** The stack of a plain `cdk deploy`. */
export class SealwrightStack extends Stack {
  readonly service: SigningService

  constructor(scope: Construct, id: string, props: SealwrightStackProps) {
    const { settings, ...stackProps } = props
    super(scope, id, { description: "Sealwright: signing and revocation service", ...stackProps })
    const {
      name,
      cdn,
      reserveConcurrency,
      rootSigning,
      wrappedIssuers,
      wrappedTimestamps,
      trail,
      publicLog,
      hosts,
      certificateArn,
      alarmTopicArn,
      openTimestamps,
      timestampPolicy,
      batchRate,
      ocsp,
    } = settings
    this.service = new SigningService(this, "Service", {
      cdn,
      reserveConcurrency,
      rootSigning,
      wrappedIssuers,
      wrappedTimestamps,
      trail,
      publicLog,
      ...(name !== undefined && { name }),
      ...(openTimestamps !== undefined && { openTimestamps: { rate: openTimestamps, burst: 2 * openTimestamps } }),
      ...(timestampPolicy !== undefined && { timestampPolicy }),
      ...(batchRate !== undefined && { batchRate }),
      ...(ocsp !== undefined && { ocsp: { throttle: { rate: ocsp, burst: 2 * ocsp } } }),
      ...(certificateArn !== undefined && {
        host: { domainNames: hosts, certificate: Certificate.fromCertificateArn(this, "Certificate", certificateArn) },
      }),
      ...(alarmTopicArn !== undefined && { alarmTopic: Topic.fromTopicArn(this, "AlarmTopic", alarmTopicArn) }),
    })
    this.#tell(settings.profiles)
  }

  #tell(profiles: readonly string[]): void {
    const { api, publication, ledger, policies } = this.service
    const output = (id: string, value: string, description: string) => new CfnOutput(this, id, { value, description })
    output("Endpoint", api.url, "address of the API; SEALWRIGHT_ENDPOINT of the command line")
    output("Table", ledger.table.tableName, "the ledger")
    output("Bucket", publication.bucket.bucketName, "what is published")
    if (publication.distribution)
      output("PublicHost", publication.distribution.distributionDomainName, "where tuf/ and crl/ are read")
    output("RevokerPolicy", policies.revoker.managedPolicyArn, "for roles that revoke")
    output("AdminPolicy", policies.admin.managedPolicyArn, "for roles that set up issuers and profiles")
    output("TimestampsPolicy", policies.timestamps.managedPolicyArn, "for roles that ask for timestamps")
    output("AuditorPolicy", policies.auditor.managedPolicyArn, "for roles that read everything")
    for (const profile of profiles) {
      const id = `Signer${logical(profile)}`
      const policy = policies.signer(id, [profile])
      output(`${id}Policy`, policy.managedPolicyArn, `for pipelines that sign under ${profile}`)
      const recorder = policies.recorder(`Recorder${logical(profile)}`, [profile])
      const use = `for who signs with keys of their own and registers it under ${profile}`
      output(`Recorder${logical(profile)}Policy`, recorder.managedPolicyArn, use)
    }
  }
}

/** `release-eu` -> `ReleaseDashEu`: different names stay different in a logical id, which takes letters and digits only. */
function logical(profile: string): string {
  return profile
    .split("-")
    .map((part) => `${part.slice(0, 1).toUpperCase()}${part.slice(1)}`)
    .join("Dash")
}
