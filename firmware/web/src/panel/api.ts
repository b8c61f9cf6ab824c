/** What the device answered when it did not do what it was asked. */
export class ApiError extends Error {
  constructor(
    /** HTTP status; 0 when the device could not be reached. */
    readonly status: number,
    /** Stable name of what is the matter. */
    readonly code: string,
    message: string,
    /** What to do about it. */
    readonly hint: string,
  ) {
    super(message);
  }
}

const PATIENCE_MS = 8000;

/** Calls the device's interface; `path` is below `/api/v1/`. Throws an `ApiError`. */
export async function call<T = void>(method: string, path: string, body?: unknown): Promise<T> {
  let response: Response;
  try {
    response = await fetch(`/api/v1/${path}`, {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
  } catch {
    throw new ApiError(0, "unreachable", "The device does not answer.", "Check that it has power and network.");
  }
  const text = await response.text().catch(() => "");
  const answer = parsed(text);
  if (!response.ok) {
    const { code, message, hint } = (answer ?? {}) as Partial<Record<string, string>>;
    throw new ApiError(response.status, code ?? "failed", message ?? `The device refused (${response.status}).`, hint ?? "");
  }
  return answer as T;
}

function parsed(text: string): unknown {
  try {
    return text === "" ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}
