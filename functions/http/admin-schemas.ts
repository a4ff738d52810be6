import { ServiceError } from "@sealwright/core/errors"
import { EXTRA_ALGORITHM, KEY_MODES, OCSP_ALGORITHMS, type TimestampMode, TUF_ROLES } from "@sealwright/core/model"
import { base64Decode } from "@sealwright/formats/bytes"
import { FormatError } from "@sealwright/formats/errors"
import { pemDecode, pemDecodeAll } from "@sealwright/formats/pem"
import { KEY_LABEL } from "@sealwright/formats/pkcs8"
import * as v from "valibot"
import { digest, principal, slug, whole } from "./schemas.ts"

/** Requests of the admin routes, in a module of their own: bundlers keep every schema of a module, and signing needs none of these. */

const hostname = v.pipe(
  v.string(),
  v.maxLength(253),
  v.regex(/^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$/),
)
const host = v.pipe(v.string(), v.maxLength(260), v.regex(/^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::\d{1,5})?$/))
const algorithm = v.picklist(["ecdsa-p256-sha256", "ecdsa-p384-sha384", "rsa-pss-sha384"])
const issuerAlgorithm = v.picklist(["ecdsa-p256-sha256", "ecdsa-p384-sha384", "rsa-pss-sha384", EXTRA_ALGORITHM])
const name = v.pipe(v.string(), v.minLength(1), v.maxLength(64), v.regex(/^[^\p{Cc}]+$/u))

export const ceremonySchema = v.strictObject({
  country: v.pipe(v.string(), v.regex(/^[A-Z]{2}$/)),
  state: name,
  organisation: v.pipe(v.string(), v.minLength(1), v.maxLength(46), v.regex(/^[^\p{Cc}]+$/u)),
  identityHost: hostname,
  crlHost: host,
  tufUrl: v.pipe(
    v.string(),
    v.maxLength(2048),
    v.regex(/^https?:\/\/[a-z0-9.-]+(?::\d{1,5})?(?:\/[A-Za-z0-9._~/-]*)?$/),
  ),
  algorithm: v.optional(algorithm, "ecdsa-p256-sha256"),
  rootYears: v.optional(whole(1, 30), 10),
  logHost: v.optional(hostname),
  logCosigner: v.optional(v.boolean()),
})

/** Certified by the deployment's root, or by an outside authority, which decides how long; its request is signed by the key, so that is never a wrapped one. */
export const issuerSchema = v.union([
  v.strictObject({
    name: slug,
    algorithm: v.optional(issuerAlgorithm, "ecdsa-p256-sha256"),
    days: v.optional(whole(1, 3660), 1096),
    external: v.optional(v.literal(false), false),
    wrapped: v.optional(v.boolean(), false),
  }),
  v.strictObject({
    name: slug,
    algorithm: v.optional(algorithm, "ecdsa-p256-sha256"),
    external: v.literal(true),
  }),
])

const generation = whole(2, 9999)

/** The generation is the next one: naming it makes a repeat the same act. */
export const issuerRotationSchema = v.strictObject({
  generation,
  algorithm: v.optional(issuerAlgorithm),
  days: v.optional(whole(1, 3660), 1096),
  wrapped: v.optional(v.boolean()),
})

export const takeoverSchema = v.strictObject({ generation })

/** The generation is the next one, as with issuers. */
export const rootRotationSchema = v.strictObject({
  generation,
  algorithm: v.optional(algorithm),
  rootYears: v.optional(whole(1, 30), 10),
})

/** The generation is one above the newest of the algorithm, 1 for the first. */
export const extraRootSchema = v.strictObject({
  algorithm: v.literal(EXTRA_ALGORITHM),
  generation: v.optional(whole(1, 9999), 1),
  rootYears: v.optional(whole(1, 30), 10),
})

/** SHA-256 of the root's certificate. */
export const rootRetirementSchema = v.strictObject({ thumbprint: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)) })

/** One SubjectPublicKeyInfo in PEM. */
export const tufKeySchema = v.strictObject({ name: slug, publicKey: v.pipe(v.string(), v.maxLength(8192)) })

/** What is left out stays as it is. Keys by name; `service` stands for the service's own. */
export const tufProposalSchema = v.strictObject({
  role: v.picklist(["root", "targets"]),
  keys: v.optional(v.pipe(v.array(slug), v.minLength(1), v.maxLength(32))),
  threshold: v.optional(whole(1, 32)),
  days: v.optional(whole(1, 3660)),
})

const proposal = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/))

/** Signatures in hex, as metadata files have them. */
export const tufSignaturesSchema = v.strictObject({
  proposal,
  signatures: v.pipe(
    v.array(
      v.strictObject({
        role: v.picklist(["root", "targets"]),
        keyid: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)),
        sig: v.pipe(v.string(), v.maxLength(2048), v.regex(/^(?:[0-9a-f]{2})+$/)),
      }),
    ),
    v.minLength(1),
    v.maxLength(64),
  ),
})

export const tufWithdrawalSchema = v.strictObject({ proposal })

/** The generation that the role's new key has, as `GET /v1/tuf` names it; naming it makes a repeat the same act. */
export const tufRotationSchema = v.strictObject({ role: v.picklist(TUF_ROLES), generation })

/** PEM blocks: the issuer's certificate first, the root last. */
export const activationSchema = v.strictObject({ chain: v.pipe(v.string(), v.maxLength(131_072)) })

/** One CRL, DER in base64. */
export const outsideCrlSchema = v.strictObject({ crl: v.pipe(v.string(), v.maxLength(174_764)) })

export const timestampAuthoritySchema = v.strictObject({
  algorithm: v.optional(
    v.picklist(["ecdsa-p256-sha256", "ecdsa-p384-sha384", "rsa-pkcs1-sha384"]),
    "ecdsa-p256-sha256",
  ),
  days: v.optional(whole(1, 3660), 365),
  wrapped: v.optional(v.boolean(), false),
})

/** The generation is the next one of its key, as with issuers; without it the key stays. Shorter lives than 21 days leave no time to notice. */
export const ocspResponderSchema = v.strictObject({
  algorithm: v.optional(v.picklist(OCSP_ALGORITHMS)),
  days: v.optional(whole(21, 90), 30),
  generation: v.optional(generation),
})

const principals = v.pipe(v.array(principal), v.maxLength(100))
const repositories = v.pipe(v.array(v.pipe(v.string(), v.maxLength(255))), v.maxLength(500))
const expirySec = whole(60, 10 * 366 * 86_400)
const leafLifetimeSec = whole(60, 86_400)

/** `none`, `own`, or `outside:` and the name of an outside authority. */
const timestampMode = v.pipe(
  v.string(),
  v.maxLength(60),
  v.regex(/^(?:none|own|outside:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)$/),
  v.transform((mode) => mode as TimestampMode),
)

/** @see setOutsideAuthority: `roots` are PEM blocks */
export const outsideAuthoritySchema = v.strictObject({
  url: v.pipe(v.string(), v.minLength(10), v.maxLength(2048)),
  roots: v.pipe(v.string(), v.maxLength(65_536)),
})

/** C2SP tlog-policy text; empty: nobody cosigns any more. */
export const logWitnessesSchema = v.strictObject({ policy: v.pipe(v.string(), v.maxLength(65_536)) })

export const profileSchema = v.strictObject({
  name: slug,
  issuer: slug,
  keyMode: v.optional(v.picklist(KEY_MODES), "ephemeral"),
  algorithm: v.optional(algorithm, "ecdsa-p256-sha256"),
  principals: v.pipe(principals, v.minLength(1)),
  repositories: v.pipe(repositories, v.minLength(1)),
  expirySec: v.optional(expirySec),
  leafLifetimeSec: v.optional(leafLifetimeSec, 600),
  allowList: v.optional(v.boolean(), false),
  allowRootIssuer: v.optional(v.boolean(), false),
  timestamp: v.optional(timestampMode, "none"),
  extraIssuer: v.optional(slug),
})

export const profileChangeSchema = v.strictObject({
  principals: v.optional(principals),
  repositories: v.optional(repositories),
  expirySec: v.optional(expirySec),
  leafLifetimeSec: v.optional(leafLifetimeSec),
  allowList: v.optional(v.boolean()),
  /** null: no extra signatures any more */
  extraIssuer: v.optional(v.nullable(slug)),
})

/** The generation is the profile's, as it was read. */
export const profileRotationSchema = v.strictObject({
  generation: whole(1, Number.MAX_SAFE_INTEGER),
  issuer: v.optional(slug),
})

export const allowancesSchema = v.strictObject({
  repository: v.pipe(v.string(), v.maxLength(255)),
  digests: v.pipe(v.array(digest), v.minLength(1), v.maxLength(90)),
})

/** @throws ServiceError with this code for text that is not PEM of certificates alone */
export function certificatesOf(
  text: string,
  code: "ISSUER_CHAIN_MALFORMED" | "OUTSIDE_AUTHORITY_MALFORMED" = "ISSUER_CHAIN_MALFORMED",
): readonly Uint8Array[] {
  try {
    return pemDecodeAll("CERTIFICATE", text)
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    throw new ServiceError(code, error.message, { cause: error })
  }
}

/** @throws ServiceError OUTSIDE_CRL_MALFORMED unless it is canonical base64 */
export function crlOf(text: string): Uint8Array {
  try {
    return base64Decode(text)
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    throw new ServiceError("OUTSIDE_CRL_MALFORMED", error.message, { cause: error })
  }
}

/** @throws ServiceError TUF_KEY_UNSUITABLE */
export function publicKeyOf(pem: string): Uint8Array {
  try {
    return pemDecode(KEY_LABEL.public, pem)
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    throw new ServiceError("TUF_KEY_UNSUITABLE", error.message, { cause: error })
  }
}
