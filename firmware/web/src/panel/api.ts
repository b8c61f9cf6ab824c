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
  const answer = parsed(await response.text().catch(() => ""));
  if (!response.ok) throw refused(response.status, answer);
  return answer as T;
}

/** Sends a file to the device's interface; tells percent by `tell`. Throws an `ApiError`. */
export function send(path: string, file: File, tell: (percent: number) => void): Promise<void> {
  // `fetch` does not tell how much of a body is sent.
  const request = new XMLHttpRequest();
  return new Promise((resolve, reject) => {
    request.upload.onprogress = (event) => tell(event.total > 0 ? Math.floor((event.loaded / event.total) * 100) : 0);
    request.onload = () => {
      if (request.status >= 200 && request.status < 300) resolve();
      else reject(refused(request.status, parsed(request.responseText)));
    };
    request.onerror = () =>
      reject(new ApiError(0, "unreachable", "The file did not get to the device.", "Check the network and send it again."));
    request.open("PUT", `/api/v1/${path}`);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.send(file);
  });
}

function refused(status: number, answer: unknown): ApiError {
  const { code, message, hint } = (answer ?? {}) as Partial<Record<string, string>>;
  return new ApiError(status, code ?? "failed", message ?? `The device refused (${status}).`, hint ?? "");
}

function parsed(text: string): unknown {
  try {
    return text === "" ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}
