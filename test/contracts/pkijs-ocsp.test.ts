import { webcrypto } from "node:crypto"
import { certIdDigest } from "@sealwright/adapters/platform"
import { readIssuer } from "@sealwright/core/ledger/trust"
import type { SignatureRecord } from "@sealwright/core/model"
import { createOcspResponder } from "@sealwright/core/ocsp/flow"
import { makeOcspResponders } from "@sealwright/core/ocsp/responder"
import { hexDecode } from "@sealwright/formats/bytes"
import { BasicOCSPResponse, Certificate, CryptoEngine, OCSPRequest, OCSPResponse, setEngine } from "pkijs"
import { beforeAll, describe, expect, test } from "vitest"
import { ADMIN, createService, signRequest } from "../support/service.ts"

const buffer = (bytes: Uint8Array): ArrayBuffer => new Uint8Array(bytes).buffer
const certificateOf = (der: Uint8Array) => Certificate.fromBER(buffer(der))

/** A library of others asks and reads what we answer, and checks signature and delegation by its own rules (R32). */
describe("pkijs", () => {
  beforeAll(() => {
    setEngine(
      "node",
      new CryptoEngine({ name: "node", crypto: webcrypto as ConstructorParameters<typeof CryptoEngine>[0]["crypto"] }),
    )
  })

  test.each([
    ["ecdsa-p256-sha256", "SHA-1"],
    ["ecdsa-p256-sha256", "SHA-256"],
    ["ecdsa-p384-sha384", "SHA-256"],
  ] as const)("%s, CertID with %s: good, revoked, unknown; a flipped bit is refused", async (algorithm, hash) => {
    const service = createService()
    await service.setUp(algorithm)
    await service.profile("release")
    const issuer = await readIssuer(service.ports.table, "ci")
    await makeOcspResponders(service.ports, { issuer: "ci", algorithm, days: 30, generation: undefined }, ADMIN)
    const [one, two] = (await service.signer()(signRequest(["a", "b"]))).map((outcome) => {
      if (!("signed" in outcome)) throw outcome.refused
      return outcome.signed
    }) as [SignatureRecord, SignatureRecord]
    await service.revoke({ kind: "signature", signature: two.id }, "superseded")
    await service.publish()
    const answer = createOcspResponder({ ...service.ports, certIdDigest })

    const ca = certificateOf(issuer.certificate)
    const ask = async (serialHex: string) => {
      const certificate = certificateOf(issuer.certificate)
      certificate.serialNumber.valueBlock.valueHexView = hexDecode(serialHex)
      const request = new OCSPRequest()
      await request.createForCertificate(certificate, { hashAlgorithm: hash, issuerCertificate: ca })
      const { response } = await answer(new Uint8Array(request.toSchema(true).toBER(false)))
      const { responseStatus, responseBytes } = OCSPResponse.fromBER(buffer(response))
      expect(responseStatus.valueBlock.valueDec).toBe(0)
      const basic = BasicOCSPResponse.fromBER(responseBytes?.response.getValue() as ArrayBuffer)
      return { basic, status: await basic.getCertificateStatus(certificate, ca) }
    }
    const good = await ask(one.serialHex)
    expect(good.status).toMatchObject({ isForCertificate: true, status: 0 })
    expect((await ask(two.serialHex)).status).toMatchObject({ isForCertificate: true, status: 1 })
    expect((await ask(`01${"00".repeat(14)}`)).status).toMatchObject({ isForCertificate: true, status: 2 })

    expect(await good.basic.verify({ trustedCerts: [ca] })).toBe(true)
    const tampered = (await ask(one.serialHex)).basic
    const view = tampered.tbsResponseData.tbsView
    view[view.length - 3] = (view[view.length - 3] as number) ^ 1
    expect(await tampered.verify({ trustedCerts: [ca] }).catch(() => false)).toBe(false)
  })
})
