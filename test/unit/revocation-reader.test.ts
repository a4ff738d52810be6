import type { RevocationList } from "@sealwright/formats/revocation-list"
import { type RevocationQuery, revocationReader, VOID_REASON } from "@sealwright/verifier/revocation"
import { expect, test } from "vitest"
import { NOW, TARGET } from "../support/chains.ts"
import { afterSec } from "../support/deployment.ts"

const ISSUER = "ab".repeat(32)
const entry = { reason: "keyCompromise", at: NOW }
const list: RevocationList = {
  epoch: 3,
  date: NOW,
  due: afterSec(86_400),
  previous: "",
  rules: [
    { kind: "profile", profile: "web", from: afterSec(-100), ...entry },
    { kind: "certificate", thumbprint: "01".repeat(32), issuerKeyId: ISSUER, serialHex: "0a", ...entry },
    { kind: "certificate", thumbprint: "02".repeat(32), ...entry },
  ],
  issuers: new Map([
    [
      ISSUER,
      {
        coveredBelow: 100,
        revoked: new Map([[7, entry]]),
        void: [
          [10, 12],
          [20, 20],
          [30, 39],
        ],
      },
    ],
  ]),
  artifacts: new Map([[TARGET.digest, entry]]),
  released: [],
}
const madeAt = (sec: number) => ({ earliest: afterSec(sec), latest: afterSec(sec) })
const query: RevocationQuery = {
  issuerKeyId: ISSUER,
  number: 50,
  profile: "other",
  serialHex: "0b",
  thumbprints: ["00".repeat(32)],
  artifact: `sha256:${"00".repeat(32)}`,
  signedAt: madeAt(-10),
  stampedBy: undefined,
  now: NOW,
  maxStaleSec: 60,
}

test.each<[string, Partial<RevocationQuery>, object]>([
  ["a settled number", {}, { status: "good" }],
  ["a rescinded number", { number: 7 }, { status: "revoked", by: "signature", ...entry }],
  [
    "the same number of another issuer",
    { number: 7, issuerKeyId: "cd".repeat(32), signedAt: madeAt(-61) },
    { status: "not covered" },
  ],
  ["a denied artifact", { artifact: TARGET.digest }, { status: "revoked", by: "artifact" }],
  [
    "a profile rule and an unproven time",
    { profile: "web", signedAt: undefined },
    { status: "revoked", by: "profile" },
  ],
  ["a certificate by issuer and serial", { serialHex: "0a" }, { status: "revoked", by: "certificate" }],
  [
    "the same serial of another issuer",
    { serialHex: "0a", issuerKeyId: "cd".repeat(32), signedAt: madeAt(-61) },
    { status: "not covered" },
  ],
  ...["01", "02"].map((byte): [string, Partial<RevocationQuery>, object] => [
    `a certificate by thumbprint ${byte}`,
    { thumbprints: ["00".repeat(32), byte.repeat(32)] },
    { status: "revoked", by: "certificate" },
  ]),
  ["a profile rule and a time before it", { profile: "web", signedAt: madeAt(-101) }, { status: "good" }],
  ["a profile rule at its second", { profile: "web", signedAt: madeAt(-100) }, { status: "revoked", by: "profile" }],
  [
    "a profile rule within the accuracy of a time before it",
    { profile: "web", signedAt: { earliest: afterSec(-102), latest: afterSec(-100) } },
    { status: "revoked", by: "profile" },
  ],
  [
    "an unsettled number that may be older than the list",
    { number: 100, signedAt: { earliest: afterSec(-61), latest: afterSec(0) } },
    { status: "not covered" },
  ],
  ["an unsettled number, fresh", { number: 100 }, { status: "newer" }],
  ["an unsettled number without a proven time", { number: 100, signedAt: undefined }, { status: "not covered" }],
  ["an unsettled number, old", { number: 100, signedAt: madeAt(-61) }, { status: "not covered" }],
  ["an old list", { now: afterSec(61) }, { status: "stale" }],
  ["an old list, an unsettled number", { now: afterSec(61), number: 100 }, { status: "stale" }],
  ["an old list that revokes", { now: afterSec(61), number: 7 }, { status: "revoked", by: "signature" }],
])("%s", (_, change, answer) => {
  expect(revocationReader(list).answer({ ...query, ...change })).toMatchObject(answer)
})

test("void numbers are found in every range and nowhere else", () => {
  const reader = revocationReader(list)
  const found = Array.from({ length: 50 }, (_, number) => number).filter((number) => {
    const answer = reader.answer({ ...query, number })
    return answer.status === "revoked" && answer.by === "void number" && answer.reason === VOID_REASON
  })
  expect(found).toEqual([10, 11, 12, 20, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39])
})

test("a certificate of whatever issuer is found by the same names", () => {
  const { revokedCertificate } = revocationReader(list)
  expect(revokedCertificate(query)).toBeUndefined()
  expect(revokedCertificate({ ...query, serialHex: "0a" })).toMatchObject(entry)
  expect(revokedCertificate({ ...query, thumbprints: ["02".repeat(32)] })).toMatchObject(entry)
})
