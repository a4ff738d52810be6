/** One line of JSON: ids, digests, codes and durations; never bodies, tokens or keys. */
export function log(fields: { readonly [name: string]: string | number | boolean | undefined }): void {
  process.stdout.write(`${JSON.stringify(fields)}\n`)
}
