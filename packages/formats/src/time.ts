import { FormatError } from "./errors.ts"

/** RFC 3339 in UTC with whole seconds: `2026-11-21T03:00:00Z`. Fractions of a second are cut. */
export function formatTime(date: Date): string {
  const ms = date.getTime()
  if (!(ms >= -62167219200000 && ms <= 253402300799999)) throw malformed("a time outside the years 0 to 9999")
  return `${date.toISOString().slice(0, 19)}Z`
}

/** @throws FormatError TEXT_MALFORMED unless `text` is exactly what `formatTime` writes */
export function parseTime(text: string): Date {
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(text)) throw malformed("not YYYY-MM-DDThh:mm:ssZ")
  const date = new Date(text)
  // A day beyond its month and the hour 24 are read as a later day; all else is no date.
  if (date.getUTCDate() !== Number(text.slice(8, 10))) throw malformed("not in the calendar")
  return date
}

/**
 * RFC 3339 §5.6 with fractions and offsets, as the Notary JWS envelope allows them; digits below a millisecond are cut.
 * @throws FormatError TEXT_MALFORMED, also for a leap second and for the offset `-00:00` (an unknown local time)
 */
export function parseTimeLenient(text: string): Date {
  if (text.length === 20 && text.endsWith("Z")) return parseTime(text)
  const parts = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d):(\d\d))$/.exec(text)
  if (parts === null) throw malformed("not an RFC 3339 time")
  const [, seconds = "", fraction = "", sign, hours = "00", minutes = "00"] = parts
  if (Number(hours) > 23 || Number(minutes) > 59 || (sign === "-" && hours === "00" && minutes === "00"))
    throw malformed("an offset out of range")
  const local = parseTime(`${seconds}Z`).getTime() + Number(fraction.padEnd(3, "0").slice(0, 3))
  const offset = (Number(hours) * 60 + Number(minutes)) * 60_000
  return new Date(sign === "-" ? local + offset : local - offset)
}

function malformed(detail: string): FormatError {
  return new FormatError("TEXT_MALFORMED", detail)
}
