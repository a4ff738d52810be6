/**
 * Is the ledger sound? Reads a dump of the table and nothing else, and shares no code with what wrote it.
 * Lease accounts: every number of an issuer is in exactly one lease; a lease's used numbers are its records; of a closed and
 * settled lease all others are written down as void.
 */
type Item = { readonly pk: string; readonly sk: string; readonly [name: string]: unknown }

export function checkLedger(items: readonly Item[]): string[] {
  const problems: string[] = []
  const byKey = new Map(items.map((item) => [`${item.pk} ${item.sk}`, item]))
  const of = (pk: string) => items.filter((item) => item.pk === pk)
  const starting = (prefix: string) => items.filter((item) => item.pk.startsWith(prefix))
  const expect = (holds: boolean, problem: string) => {
    if (!holds) problems.push(problem)
  }

  for (const issuer of of("issuers")) checkIssuer(issuer)
  for (const record of starting("signature#")) checkRecord(record)
  for (const artifact of starting("artifact#"))
    for (const id of members(artifact.signatures))
      expect(
        digestOf(byKey.get(`signature#${id} record`)) === artifact.pk.slice("artifact#".length),
        `${artifact.pk} lists ${id}, which is no signature of it`,
      )
  for (const key of starting("idempotency#"))
    if (key.signature !== undefined)
      expect(byKey.has(`signature#${key.signature} record`), `${key.pk} ${key.sk} names no record`)
  for (const shard of starting("inbox#"))
    expect(byKey.has(`signature#${shard.sk} record`), `${shard.pk} ${shard.sk} names no record`)
  for (const entry of starting("audit#"))
    if (entry.action === "sign" && entry.outcome === "done")
      for (const id of String(entry.target).split(" ").slice(1))
        expect(byKey.has(`signature#${id} record`), `audit entry ${entry.sk} tells of ${id}, which has no record`)
  checkPublication()
  return problems

  function checkIssuer(issuer: Item): void {
    const id = String(issuer.issuerKeyId)
    let next = Number(issuer.firstNumber)
    for (const lease of of(`leases#${id}`)) {
      expect(lease.first === next, `a lease of ${id} starts at ${lease.first}, not at ${next}`)
      next = Number(lease.first) + Number(lease.size)
      checkLease(id, lease)
    }
    expect(byKey.get(`numbers#${id} next`)?.next === next, `the next number of ${id} is not ${next}`)
    for (const voids of of(`voids#${id}`))
      expect(byKey.has(`leases#${id} ${voids.sk}`), `${voids.pk} ${voids.sk} belongs to no lease`)
  }

  function checkLease(issuerKeyId: string, lease: Item): void {
    const where = `${lease.pk} ${lease.sk}`
    const first = Number(lease.first)
    const used = new Map(Object.entries(lease.used as object).map(([offset, id]) => [first + Number(offset), id]))
    for (const [number, id] of used) {
      const record = byKey.get(`signature#${id} record`)
      expect(number >= first && number < first + Number(lease.size), `${where} used ${number}`)
      expect(
        record?.number === number && record.issuerKeyId === issuerKeyId && record.leaseFirst === first,
        `${where} gave ${number} to ${id}, whose record does not say so`,
      )
    }
    const open = byKey.has(`open-leases ${issuerKeyId}#${lease.sk}`)
    expect(open || lease.state === "closed", `${where} is open and stands in no list of open leases`)
    if (open) return
    const expected: number[] = []
    for (let number = first; number < first + Number(lease.size); number++) if (!used.has(number)) expected.push(number)
    const written = voidNumbers(byKey.get(`voids#${issuerKeyId} ${lease.sk}`))
    expect(written.join() === expected.join(), `${where} is settled with void ${written}, not ${expected}`)
  }

  function checkRecord(record: Item): void {
    const id = record.pk.slice("signature#".length)
    const lease = byKey.get(`leases#${record.issuerKeyId} ${pad(record.leaseFirst)}`)
    const used = (lease?.used ?? {}) as { readonly [offset: string]: unknown }
    expect(used[String(Number(record.number) - Number(record.leaseFirst))] === id, `record ${id} is in no lease`)
    const artifact = byKey.get(`artifact#${digestOf(record)} artifact`)
    expect(members(artifact?.signatures).includes(id), `record ${id} is not in its artifact's list`)
    expect(
      starting("inbox#").some((entry) => entry.sk === id),
      `record ${id} never reached the log's inbox`,
    )
    expect(
      record.byProfile === record.profile && record.byProfileAt === id && record.id === id,
      `record ${id} cannot be found by profile`,
    )
    expect(
      (record.envelopes as { bytes: Uint8Array }[]).every(({ bytes }) => bytes.length > 0),
      `record ${id} is empty`,
    )
  }

  function checkPublication(): void {
    const head = byKey.get("publication head")
    if (head === undefined) return
    const { open, committed, published } = head as Record<string, unknown> as Record<string, number>
    expect(
      (published ?? 0) <= (committed ?? 0) && (committed ?? 0) < (open ?? 0),
      `publication stands at ${published}, ${committed}, ${open}`,
    )
    for (let epoch = 1; epoch <= (committed ?? 0); epoch++)
      expect(byKey.has(`epochs ${pad(epoch)}`), `epoch ${epoch} has no commit`)
    for (const revocation of of("revocations")) {
      const { epoch, firstEpoch } = revocation as Record<string, unknown> as Record<string, number>
      expect((firstEpoch ?? 0) <= (epoch ?? 0) && (epoch ?? 0) <= (open ?? 0), `${revocation.sk}: epoch ${epoch}`)
      const target = revocation.target as { readonly kind: string; readonly digest?: string }
      if (target.kind === "artifact" && revocation.released !== true)
        expect(
          byKey.get(`artifact#${target.digest} artifact`)?.deniedBy !== undefined,
          `${target.digest} is revoked and not denied`,
        )
    }
  }
}

function digestOf(record: Item | undefined): string | undefined {
  return (record?.subject as { readonly digest: string } | undefined)?.digest
}

function members(set: unknown): readonly string[] {
  return set instanceof Set ? [...set] : []
}

function voidNumbers(item: Item | undefined): number[] {
  return ((item?.ranges ?? []) as [string, string][]).flatMap(([from, to]) =>
    Array.from({ length: Number(to) - Number(from) + 1 }, (_, i) => Number(from) + i),
  )
}

function pad(number: unknown): string {
  return String(number).padStart(15, "0")
}
