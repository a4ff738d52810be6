import { ServiceError } from "./errors.ts"

/** Profile and issuer names: immutable slugs (D14). */
export const SLUG = /^[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?$/

/** The deployment's root where an issuer is named. */
export const ROOT_NAME = "root"

const PRINCIPAL = /^arn:(aws|aws-cn|aws-us-gov):iam::(\d{12}):(role|user)\/([\w+=,.@-]{1,128})$/
const ASSUMED_ROLE = /^arn:(aws|aws-cn|aws-us-gov):sts::(\d{12}):assumed-role\/([\w+=,.@-]{1,128})\/[\w+=,.@-]{1,64}$/
const USER = /^arn:(aws|aws-cn|aws-us-gov):iam::(\d{12}):user\/(?:[\w+=,.@/-]*\/)?([\w+=,.@-]{1,128})$/

/**
 * Whom a SigV4 caller acts as. The session name of an assumed role is the caller's own choice, so it does not count (D10);
 * a role's path is not in the caller's ARN, so it does not count either.
 * @param userArn `requestContext.authorizer.iam.userArn`
 * @returns `arn:{partition}:iam::{account}:role/{name}` or `…:user/{name}`; undefined for any other kind of caller
 */
export function principalOf(userArn: string): string | undefined {
  const role = ASSUMED_ROLE.exec(userArn)
  if (role) return `arn:${role[1]}:iam::${role[2]}:role/${role[3]}`
  const user = USER.exec(userArn)
  return user ? `arn:${user[1]}:iam::${user[2]}:user/${user[3]}` : undefined
}

export function isPrincipal(text: string): boolean {
  return PRINCIPAL.test(text)
}

const SCOPE = /^[a-z0-9.-]+(?::\d{1,5})?(?:\/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*(?:\/\*)?$/

/** A repository scope: `registry/repository`, or `registry/path/*` for every repository below that path. */
export function isScope(text: string): boolean {
  return text.length <= 255 && text.includes("/") && SCOPE.test(text)
}

/** @param repository `registry/repository`, without tag and digest */
export function scopeCovers(scope: string, repository: string): boolean {
  return scope.endsWith("/*") ? repository.startsWith(scope.slice(0, -1)) : repository === scope
}

const CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

/**
 * A ULID: 48 bits of time in ms, 80 random bits, in Crockford's base 32; sorts by time.
 * @param random 10 bytes
 */
export function ulid(at: Date, random: Uint8Array): string {
  return crockford(at.getTime(), 10) + crockford(fortyBits(random, 0), 8) + crockford(fortyBits(random, 5), 8)
}

function fortyBits(bytes: Uint8Array, from: number): number {
  let value = 0
  for (let i = from; i < from + 5; i++) value = value * 256 + (bytes[i] as number)
  return value
}

/** @param value below 32^digits and 2^53 */
function crockford(value: number, digits: number): string {
  let text = ""
  for (let i = 0, rest = value; i < digits; i++, rest = Math.floor(rest / 32)) text = CROCKFORD.charAt(rest % 32) + text
  return text
}

export const ULID = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/

/** The lowest ULID of a time, for ranges over ids. */
export function ulidFloor(at: Date): string {
  return ulid(at, new Uint8Array(10))
}

/** Numbers and sort keys that hold them: 15 digits, since 2^48 has 15. */
export function padNumber(value: number): string {
  if (!Number.isSafeInteger(value) || value < 0 || value >= 2 ** 48)
    throw new ServiceError("REQUEST_MALFORMED", `number ${value} is out of range`)
  return value.toString().padStart(15, "0")
}

/** When a ULID was made: its first ten digits, milliseconds. */
export function ulidTime(id: string): Date {
  return new Date([...id.slice(0, 10)].reduce((value, digit) => value * 32 + CROCKFORD.indexOf(digit), 0))
}
