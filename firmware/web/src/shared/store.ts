/** Reads what this browser remembers under `key`; `fallback` when there is nothing, or no storage (private mode). */
export function recall<T>(key: string, fallback: T): T {
  try {
    const text = window.localStorage.getItem(key);
    return text === null ? fallback : (JSON.parse(text) as T);
  } catch {
    return fallback;
  }
}

/** Remembers `value` under `key` where the browser allows it. */
export function remember(key: string, value: unknown): void {
  try {
    window.localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // A browser without storage asks again next time; nothing else is lost.
  }
}
