import { Duration, RemovalPolicy, Validations } from "aws-cdk-lib"
import type { ICertificate } from "aws-cdk-lib/aws-certificatemanager"
import {
  AllowedMethods,
  type BehaviorOptions,
  CachedMethods,
  CachePolicy,
  Distribution,
  Function as EdgeFunction,
  FunctionCode,
  FunctionEventType,
  FunctionRuntime,
  HttpVersion,
  PriceClass,
  S3OriginAccessControl,
  SecurityPolicyProtocol,
  Signing,
  ViewerProtocolPolicy,
} from "aws-cdk-lib/aws-cloudfront"
import { S3BucketOrigin } from "aws-cdk-lib/aws-cloudfront-origins"
import { AnyPrincipal, Effect, PolicyStatement, ServicePrincipal } from "aws-cdk-lib/aws-iam"
import { BlockPublicAccess, Bucket, BucketEncryption, type IBucket } from "aws-cdk-lib/aws-s3"
import { Construct } from "constructs"
import type { ServiceFunction } from "./service-function.ts"

/** Prefixes that anyone may read. Everything else (dialect trees that name repositories, staging) stays behind IAM (D9). */
export const PUBLIC_PREFIXES = ["tuf", "crl"] as const

/** What is written once: `tuf/7.snapshot.json` has two dots, the mutable head `tuf/timestamp.json` one. */
export const IMMUTABLE_PATTERNS = ["tuf/targets/*", "tuf/*.*.json", "staging/*", "log/*/tile/*"] as const

const BY_PREFIX = "Objects below one prefix of the service's own bucket; their names come with each publication."

/** CloudFront keeps an absent object this long: the next `N.root.json` will appear one day. */
const ABSENT_SEC = 5

const STAGED_LOG_DAYS = 30

export interface PublicHost {
  /** names that the certificate covers; they stand in every certificate and root for ever */
  readonly domainNames: readonly string[]
  /** in us-east-1 */
  readonly certificate: ICertificate
}

export interface PublicationProps {
  /** default: true */
  readonly cdn?: boolean
  /** default: CloudFront's own name, which is right for trying only */
  readonly host?: PublicHost
  /** whether anyone may read the logs, which name artifacts' digests and signers. Default: false */
  readonly publicLog?: boolean
}

/** The bucket that publications go to, and the CDN before its public part. Kept when the stack goes. */
export class Publication extends Construct {
  readonly bucket: Bucket
  readonly accessLogs: Bucket
  readonly distribution: Distribution | undefined

  constructor(scope: Construct, id: string, props: PublicationProps = {}) {
    super(scope, id)
    const kept = {
      encryption: BucketEncryption.S3_MANAGED,
      blockPublicAccess: BlockPublicAccess.BLOCK_ALL,
      enforceSSL: true,
      removalPolicy: RemovalPolicy.RETAIN,
    }
    this.accessLogs = new Bucket(this, "AccessLogs", {
      ...kept,
      lifecycleRules: [{ expiration: Duration.days(365), abortIncompleteMultipartUploadAfter: Duration.days(1) }],
    })
    this.bucket = new Bucket(this, "Bucket", {
      ...kept,
      versioned: true,
      serverAccessLogsBucket: this.accessLogs as IBucket,
      serverAccessLogsPrefix: "published/",
      lifecycleRules: [
        { abortIncompleteMultipartUploadAfter: Duration.days(1) },
        // A log that stands still keeps its last batch here: longer than any alarm goes unheard.
        {
          prefix: "staging/log/",
          expiration: Duration.days(STAGED_LOG_DAYS),
          noncurrentVersionExpiration: Duration.days(1),
        },
      ],
    })
    this.#refuseBlindWrites()
    if (props.cdn ?? true) this.distribution = this.#distribute(props.host, props.publicLog ?? false)
  }

  /** @param patterns keys, `*` for any characters */
  grantRead(grantee: ServiceFunction, ...patterns: readonly string[]): void {
    this.grantReadKnown(grantee, ...patterns)
    // An absent object answers 404 instead of 403 to who may list.
    grantee.allow(["s3:ListBucket"], [this.bucket.bucketArn])
  }

  /** As `grantRead`, for who knows what is there: an absent object answers 403. */
  grantReadKnown(grantee: ServiceFunction, ...patterns: readonly string[]): void {
    grantee.allow(["s3:GetObject"], this.#objects(patterns), { because: BY_PREFIX })
  }

  grantWrite(grantee: ServiceFunction, ...patterns: readonly string[]): void {
    grantee.allow(["s3:PutObject"], this.#objects(patterns), { because: BY_PREFIX })
  }

  #objects(patterns: readonly string[]): string[] {
    return patterns.map((pattern) => this.bucket.arnForObjects(pattern))
  }

  /** Every write is conditional (D5): immutable objects are created, heads are replaced by who has seen what stands there. */
  #refuseBlindWrites(): void {
    const deny = (sid: string, patterns: readonly string[], absent: readonly string[]) =>
      this.bucket.addToResourcePolicy(
        new PolicyStatement({
          sid,
          effect: Effect.DENY,
          principals: [new AnyPrincipal()],
          actions: ["s3:PutObject"],
          resources: this.#objects(patterns),
          conditions: { Null: Object.fromEntries(absent.map((key) => [key, "true"])) },
        }),
      )
    deny("ImmutableIsCreatedOnce", IMMUTABLE_PATTERNS, ["s3:if-none-match"])
    deny("HeadsMoveByCompareAndSwap", ["*"], ["s3:if-none-match", "s3:if-match"])
  }

  #distribute(host: PublicHost | undefined, publicLog: boolean): Distribution {
    const cachePolicy = new CachePolicy(this, "OriginDecides", {
      comment: "Sealwright: the origin's Cache-Control decides",
      minTtl: Duration.seconds(0),
      defaultTtl: Duration.seconds(0),
      maxTtl: Duration.days(365),
      enableAcceptEncodingBrotli: false,
      enableAcceptEncodingGzip: false,
    })
    const nothing = new EdgeFunction(this, "NothingElse", {
      comment: "Sealwright: 404 for whatever is not public",
      runtime: FunctionRuntime.JS_2_0,
      code: FunctionCode.fromInline(
        'function handler() {\n  return { statusCode: 404, statusDescription: "Not Found" }\n}\n',
      ),
    })
    const origin = S3BucketOrigin.withBucketDefaults(this.bucket as IBucket, {
      originAccessControlId: new S3OriginAccessControl(this, "Access", { signing: Signing.SIGV4_ALWAYS })
        .originAccessControlId,
    })
    const behavior = (viewerProtocolPolicy: ViewerProtocolPolicy): BehaviorOptions & { origin: typeof origin } => ({
      origin,
      viewerProtocolPolicy,
      allowedMethods: AllowedMethods.ALLOW_GET_HEAD,
      cachedMethods: CachedMethods.CACHE_GET_HEAD,
      cachePolicy,
      compress: false,
    })
    const distribution = new Distribution(this, "Distribution", {
      comment: "Sealwright: trust metadata and certificate revocation lists",
      httpVersion: HttpVersion.HTTP2_AND_3,
      priceClass: PriceClass.PRICE_CLASS_ALL,
      defaultBehavior: {
        ...behavior(ViewerProtocolPolicy.HTTPS_ONLY),
        functionAssociations: [{ function: nothing, eventType: FunctionEventType.VIEWER_REQUEST }],
      },
      additionalBehaviors: {
        "tuf/*": behavior(ViewerProtocolPolicy.HTTPS_ONLY),
        // RFC 5280 §4.2.1.13: lists are fetched over plain http; their own signature protects them.
        "crl/*": behavior(ViewerProtocolPolicy.ALLOW_ALL),
        ...(publicLog && { "log/*": behavior(ViewerProtocolPolicy.HTTPS_ONLY) }),
      },
      errorResponses: [403, 404, 500, 502, 503, 504].map((httpStatus) => ({
        httpStatus,
        ttl: Duration.seconds(httpStatus < 500 ? ABSENT_SEC : 0),
      })),
      ...(host && {
        domainNames: [...host.domainNames],
        certificate: host.certificate,
        minimumProtocolVersion: SecurityPolicyProtocol.TLS_V1_2_2021,
      }),
    })
    this.#admit(distribution, publicLog ? [...PUBLIC_PREFIXES, "log"] : PUBLIC_PREFIXES)
    Validations.of(distribution).acknowledge(
      { id: "AwsSolutions-CFR1", reason: "Revocation must be readable everywhere that artifacts run." },
      {
        id: "AwsSolutions-CFR2",
        reason: "Static, signed objects behind a cache; there is no application that a filter could protect.",
      },
      {
        id: "AwsSolutions-CFR3",
        reason: "Who reads a revocation list shows what they deploy; readers are not recorded.",
      },
    )
    if (!host)
      Validations.of(distribution).acknowledge({
        id: "AwsSolutions-CFR4",
        reason:
          "CloudFront's own certificate fixes the policy; a host of one's own gets TLS 1.2. Objects are signed, whatever the transport.",
      })
    return distribution
  }

  #admit(distribution: Distribution, prefixes: readonly string[]): void {
    const allow = (sid: string, action: string, resources: string[]) =>
      this.bucket.addToResourcePolicy(
        new PolicyStatement({
          sid,
          effect: Effect.ALLOW,
          principals: [new ServicePrincipal("cloudfront.amazonaws.com")],
          actions: [action],
          resources,
          conditions: { StringEquals: { "AWS:SourceArn": distribution.distributionArn } },
        }),
      )
    allow("DistributionReadsWhatIsPublic", "s3:GetObject", this.#objects(prefixes.map((prefix) => `${prefix}/*`)))
    allow("AbsentIsNotForbidden", "s3:ListBucket", [this.bucket.bucketArn])
  }
}
