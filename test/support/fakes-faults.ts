import { ServiceError } from "@sealwright/core/errors"
import type { KeyMaker, KeyWrapper, Objects, SigningKeys, Table, Write } from "@sealwright/core/ports"

/** One call of a port, as a hook sees it. `name` tells the call site: method and what it is about, without ids. */
export interface PortCall {
  readonly port: "table" | "objects" | "keys" | "maker"
  readonly name: string
  readonly writes: boolean
}

/** Runs around a call: it may apply it, apply it twice, later or never, and answer as it likes. */
export type Around = <T>(call: PortCall, apply: () => Promise<T>) => Promise<T>

export interface FaultyPorts {
  readonly table: Table
  readonly objects: Objects
  readonly keys: SigningKeys
  readonly maker: KeyMaker
  readonly wrapper: KeyWrapper
}

/** The ports of one actor, with `around` between the actor and the stores. */
export function withFaults(ports: FaultyPorts, around: Around): FaultyPorts {
  const { table, objects, keys, maker, wrapper } = ports
  const call = (port: PortCall["port"], name: string, writes: boolean): PortCall => ({ port, name, writes })
  return {
    table: {
      get: (key) => around(call("table", `get ${kindOf(key.pk)}`, false), () => table.get(key)),
      query: (pk, range) => around(call("table", `query ${kindOf(pk)}`, false), () => table.query(pk, range)),
      queryIndex: (index, value, range) =>
        around(call("table", `queryIndex ${index}`, false), () => table.queryIndex(index, value, range)),
      transact: (writes) =>
        around(call("table", `transact ${writes.map(nameOf).join("+")}`, true), () => table.transact(writes)),
    },
    objects: {
      get: (key, maxBytes) => around(call("objects", `get ${folderOf(key)}`, false), () => objects.get(key, maxBytes)),
      create: (key, bytes, headers) =>
        around(call("objects", `create ${folderOf(key)}`, true), () => objects.create(key, bytes, headers)),
      replace: (key, bytes, etag, headers) =>
        around(call("objects", `replace ${folderOf(key)}`, true), () => objects.replace(key, bytes, etag, headers)),
    },
    keys: {
      sign: (key, message) => around(call("keys", `sign ${key.keyId}`, true), () => keys.sign(key, message)),
    },
    maker: {
      create: (name, purpose, scheme) =>
        around(call("maker", `create ${name}`, true), () => maker.create(name, purpose, scheme)),
    },
    wrapper: {
      wrap: (name, purpose, scheme) =>
        around(call("maker", `wrap ${name}`, true), () => wrapper.wrap(name, purpose, scheme)),
    },
  }
}

/** What a store says when nobody can tell whether it applied the call. */
export function unavailable(call: PortCall): ServiceError {
  const signer = call.port === "keys" || call.port === "maker"
  return new ServiceError(signer ? "SIGNER_UNAVAILABLE" : "STORE_UNAVAILABLE", `injected at ${call.name}`)
}

function nameOf(write: Write): string {
  if ("put" in write) return `put:${kindOf(write.put.pk)}`
  if ("update" in write) return `update:${kindOf(write.update.pk)}`
  return "delete" in write ? `delete:${kindOf(write.delete.pk)}` : `check:${kindOf(write.check.pk)}`
}

const kindOf = (pk: string) => pk.split("#")[0] ?? pk

const folderOf = (key: string) => key.replace(/[0-9a-f]{64}/g, "digest").replace(/\d+[.-]/g, "n.")
