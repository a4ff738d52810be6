import { AwsError } from "../http/aws-error.ts"

export function validation(message: string): AwsError {
  return new AwsError("ValidationException", message)
}

export function invalidParameter(message: string): AwsError {
  return validation(`One or more parameter values were invalid: ${message}`)
}

export function notFound(): AwsError {
  return new AwsError("ResourceNotFoundException", "Requested resource not found")
}

export const CONDITION_FAILED_MESSAGE = "The conditional request failed"
