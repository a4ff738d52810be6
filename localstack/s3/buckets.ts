import { s3Error } from "./errors.ts"
import { xmlReply } from "./listing.ts"
import { refuseHeaders } from "./metadata.ts"
import { removeKey } from "./objects.ts"
import { requireBucketName, requireKey, type S3Reply, type S3Request } from "./request.ts"
import type { Bucket, ObjectStore } from "./store.ts"
import { childText, parseXml, type XmlElement } from "./xml.ts"

const MAX_DELETIONS = 1000
const OWNER = { ID: "0".repeat(64) }

export function listBuckets(store: ObjectStore): S3Reply {
  const buckets = store.buckets().map(({ name, created }) => ({ Name: name, CreationDate: created.toISOString() }))
  return xmlReply("ListAllMyBucketsResult", { Owner: OWNER, Buckets: { Bucket: buckets } })
}

/** In us-east-1 making one's own bucket again succeeds; elsewhere it is refused. */
export function createBucket(store: ObjectStore, name: string, request: S3Request, now: Date, region: string): S3Reply {
  requireBucketName(name)
  refuseHeaders(request.headers)
  if (request.headers["x-amz-bucket-object-lock-enabled"] !== undefined) {
    throw s3Error("NotImplemented", { Header: "x-amz-bucket-object-lock-enabled" })
  }
  const exists = store.bucket(name) !== undefined
  if (exists && region !== "us-east-1") throw s3Error("BucketAlreadyOwnedByYou", { BucketName: name })
  if (!exists) store.createBucket(name, now)
  return { status: 200, headers: { location: `/${name}` } }
}

export function headBucket(region: string): S3Reply {
  return { status: 200, headers: { "x-amz-bucket-region": region } }
}

export function deleteBucket(store: ObjectStore, bucket: Bucket): S3Reply {
  if (!store.isEmpty(bucket.name)) throw s3Error("BucketNotEmpty", { BucketName: bucket.name })
  store.deleteBucket(bucket.name)
  return { status: 204, headers: {} }
}

export function getBucketLocation(region: string): S3Reply {
  const isDefault = region === "us-east-1"
  const xml = `<?xml version="1.0" encoding="UTF-8"?>\n<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${isDefault ? "" : region}</LocationConstraint>`
  return { status: 200, headers: { "content-type": "application/xml" }, body: Buffer.from(xml) }
}

export function getBucketVersioning({ versioning }: Bucket): S3Reply {
  return xmlReply("VersioningConfiguration", { Status: versioning === "Unversioned" ? undefined : versioning })
}

export function putBucketVersioning(store: ObjectStore, bucket: Bucket, body: Uint8Array): S3Reply {
  const configuration = parseXml(body)
  const status = childText(configuration, "Status")
  if (configuration.name !== "VersioningConfiguration" || (status !== "Enabled" && status !== "Suspended")) {
    throw s3Error("IllegalVersioningConfigurationException")
  }
  if (childText(configuration, "MfaDelete") === "Enabled") throw s3Error("NotImplemented", { Header: "MfaDelete" })
  store.setVersioning(bucket.name, status)
  return { status: 200, headers: {} }
}

export function deleteObjects(store: ObjectStore, bucket: Bucket, body: Uint8Array, now: Date): S3Reply {
  const root = parseXml(body)
  const objects = root.children.filter(({ name }) => name === "Object")
  if (root.name !== "Delete" || objects.length === 0 || objects.length > MAX_DELETIONS) throw s3Error("MalformedXML")
  const wanted = objects.map(readDeletion)
  const quiet = childText(root, "Quiet") === "true"
  const deleted = wanted.map(({ key, versionId }) => {
    const deletion = removeKey(store, bucket, key, versionId, now)
    return {
      Key: key,
      VersionId: versionId,
      ...(deletion.isMarker && { DeleteMarker: true, DeleteMarkerVersionId: deletion.versionId }),
    }
  })
  return xmlReply("DeleteResult", { Deleted: quiet ? [] : deleted })
}

function readDeletion(element: XmlElement): { key: string; versionId: string | undefined } {
  const key = childText(element, "Key")
  if (key === undefined || key === "") throw s3Error("MalformedXML")
  requireKey(key)
  const known = ["Key", "VersionId"]
  const other = element.children.find(({ name }) => !known.includes(name))
  if (other) throw s3Error("NotImplemented", { Header: other.name })
  return { key, versionId: childText(element, "VersionId") }
}
