/** People with keys of their own for TUF root and targets, and what they do with a signing request. */
import { digest } from "@sealwright/adapters/platform"
import { type SubmittedSignature, submitSignatures, waitingProposal } from "@sealwright/core/tuf/flow"
import { registerKey } from "@sealwright/core/tuf/keys"
import { reviewRequest } from "@sealwright/core/tuf/rules"
import type { SignatureScheme } from "@sealwright/formats/algorithms"
import { keyMaterial } from "@sealwright/formats/tuf-key"
import { runSync } from "@sealwright/verifier/node-crypto"
import { ADMIN, type createService } from "./service.ts"
import { newSigner, type Signer } from "./tuf-simulator.ts"

type Service = ReturnType<typeof createService>

export interface Person extends Signer {
  readonly name: string
}

export function spkiOf({ key }: Signer): Uint8Array {
  const material = keyMaterial(key)
  if (material === undefined) throw new Error("not a TUF key")
  return material.spki
}

export async function newPerson(service: Service, name: string, scheme?: SignatureScheme): Promise<Person> {
  const signer = newSigner(scheme)
  await registerKey(service.ports, name, spkiOf(signer), ADMIN)
  return { ...signer, name }
}

/** The request that waits, reviewed as a person's command does. */
export async function waiting(service: Service) {
  const found = await waitingProposal(service.ports)
  if (found?.request === undefined) throw new Error("no request waits")
  const review = runSync(reviewRequest(found.request, digest, service.ports.clock()))
  return { id: found.proposal.id, request: found.request, review }
}

/** What these people sign of the request: each document that their keys count for. */
export async function signaturesOf(service: Service, ...people: readonly Signer[]): Promise<SubmittedSignature[]> {
  const { review } = await waiting(service)
  return review.documents.flatMap(({ role, metadata, electorates }) =>
    people
      .filter(({ keyid }) => electorates.some((one) => one.role.keyids.includes(keyid)))
      .map(({ keyid, sign }) => ({ role, keyid, signature: sign(metadata.signedBytes) })),
  )
}

/** @returns whether the proposal is complete */
export async function signAll(service: Service, ...people: readonly Signer[]): Promise<boolean> {
  const { id } = await waiting(service)
  return await submitSignatures(service.ports, id, await signaturesOf(service, ...people), ADMIN)
}
