/** When the open epoch will be published at the latest, from now: a schedule wakes the publisher each minute. */
export function dueTime(now: Date): Date {
  return new Date(now.getTime() + 2 * 60_000)
}
