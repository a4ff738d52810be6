/** How old a publication may become before it is renewed although nothing changed: the timestamp is re-signed every six hours. */
export const REFRESH_SEC = 6 * 3600

/** When the open epoch will be published at the latest, from now: a schedule wakes the publisher each minute. */
export function dueTime(now: Date): Date {
  return new Date(now.getTime() + 2 * 60_000)
}
