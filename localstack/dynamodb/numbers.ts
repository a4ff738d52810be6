import { validation } from "./errors.ts"

/** A decimal number: `coefficient` times ten to the `exponent`; no trailing zero in the coefficient, zero is 0 and 0. */
export interface Decimal {
  readonly coefficient: bigint
  readonly exponent: number
}

const MAX_DIGITS = 38
/** positions of the leading digit: 1E-130 to 9.99…E+125 */
const MIN_ADJUSTED = -130
const MAX_ADJUSTED = 125
const MAX_TEXT = 400
const SYNTAX = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,6}))?$/

/** @throws ValidationException on other syntax, more than 38 significant digits, or a magnitude out of range */
export function parseDecimal(text: string): Decimal {
  const match = text.length <= MAX_TEXT ? SYNTAX.exec(text) : null
  const whole = match?.[2] ?? ""
  const fraction = match?.[3] ?? ""
  if (!match || whole.length + fraction.length === 0) {
    throw validation(`The parameter cannot be converted to a numeric value: ${text.slice(0, MAX_TEXT)}`)
  }
  const magnitude = BigInt(whole + fraction)
  const signed = match[1] === "-" ? -magnitude : magnitude
  return normalise(signed, Number(match[4] ?? 0) - fraction.length)
}

function normalise(coefficient: bigint, exponent: number): Decimal {
  if (coefficient === 0n) return { coefficient: 0n, exponent: 0 }
  const all = digitsOf(coefficient)
  const digits = all.replace(/0+$/, "")
  const shifted = exponent + all.length - digits.length
  const adjusted = shifted + digits.length - 1
  if (adjusted > MAX_ADJUSTED) {
    throw validation("Number overflow. Attempting to store a number with magnitude larger than supported range")
  }
  if (adjusted < MIN_ADJUSTED) {
    throw validation("Number underflow. Attempting to store a number with magnitude smaller than supported range")
  }
  if (digits.length > MAX_DIGITS) throw validation("Attempting to store more than 38 significant digits in a Number")
  return { coefficient: BigInt(digits) * (coefficient < 0n ? -1n : 1n), exponent: shifted }
}

function digitsOf(coefficient: bigint): string {
  return (coefficient < 0n ? -coefficient : coefficient).toString()
}

/** Plain notation without exponent or superfluous zeros, as DynamoDB returns numbers. */
export function formatDecimal({ coefficient, exponent }: Decimal): string {
  const sign = coefficient < 0n ? "-" : ""
  const digits = digitsOf(coefficient)
  if (exponent >= 0) return sign + digits + "0".repeat(exponent)
  const point = digits.length + exponent
  if (point > 0) return `${sign}${digits.slice(0, point)}.${digits.slice(point)}`
  return `${sign}0.${"0".repeat(-point)}${digits}`
}

export function addDecimals(a: Decimal, b: Decimal): Decimal {
  const exponent = Math.min(a.exponent, b.exponent)
  return normalise(scaled(a, exponent) + scaled(b, exponent), exponent)
}

export function negateDecimal(a: Decimal): Decimal {
  return { coefficient: -a.coefficient, exponent: a.exponent }
}

export function compareDecimals(a: Decimal, b: Decimal): number {
  const exponent = Math.min(a.exponent, b.exponent)
  const difference = scaled(a, exponent) - scaled(b, exponent)
  return difference < 0n ? -1 : difference > 0n ? 1 : 0
}

function scaled({ coefficient, exponent }: Decimal, to: number): bigint {
  return coefficient * 10n ** BigInt(exponent - to)
}

/** Significant digits, for the size rule of numbers. */
export function significantDigits({ coefficient }: Decimal): number {
  return coefficient === 0n ? 0 : digitsOf(coefficient).length
}

const NEGATIVE = 0x40
const ZERO = 0x80
const POSITIVE = 0xc0
const EXPONENT_BIAS = 1000

/** Bytes whose order (memcmp) is the order of the numbers. Negative numbers are complemented and closed by 0xff. */
export function decimalKey(decimal: Decimal): Buffer {
  const { coefficient, exponent } = decimal
  if (coefficient === 0n) return Buffer.from([ZERO])
  const digits = Buffer.from(digitsOf(coefficient))
  const biased = exponent + digits.length + EXPONENT_BIAS
  const body = Buffer.concat([Buffer.from([biased >> 8, biased & 0xff]), digits])
  if (coefficient > 0n) return Buffer.concat([Buffer.from([POSITIVE]), body])
  return Buffer.concat([Buffer.from([NEGATIVE]), body.map((byte) => 0xff - byte), Buffer.from([0xff])])
}
