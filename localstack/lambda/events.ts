/** One request to a function, as the Runtime API hands it out. */
export interface Invocation {
  readonly requestId: string
  /** the event, JSON text */
  readonly payload: string
  readonly traceId: string
}

/** `payload` is JSON text: the handler's value, or `{ errorType, errorMessage, trace? }` when `functionError` is set. */
export interface InvokeResult {
  readonly payload: string
  readonly functionError?: "Unhandled"
}

/** Lambda's own limit for a synchronous request and for its response. */
export const MAX_PAYLOAD_BYTES = 6 * 1024 * 1024

export function functionFailure(errorType: string, errorMessage: string): InvokeResult {
  return { functionError: "Unhandled", payload: JSON.stringify({ errorType, errorMessage }) }
}
