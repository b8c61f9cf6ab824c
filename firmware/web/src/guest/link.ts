/** What the address of the guest's page says. */
export interface Link {
  /** The channel that the invitation is for, to show only; the service reads it from the invitation. */
  channel: string;
  /** The invitation; empty when the address was cut short. */
  invite: string;
  /** A name to start with. */
  name?: string;
  /** Join without a click (kiosks, tests). */
  autojoin: boolean;
  /** Whether to start with the microphone open; absent when the address does not say. */
  audio?: boolean;
  /** Whether to start with the camera on; absent when the address does not say. */
  video?: boolean;
  /** Puts the room into `window.rostrum`, so that a person or a test can look at its statistics. */
  debug: boolean;
}

/** Reads the query of the page's address, such as `?channel=hall&invite=...&name=Ada&autojoin=1&video=0`. */
export function parseLink(query: string): Link {
  const values = new URLSearchParams(query);
  const flag = (key: string): boolean | undefined => {
    const text = values.get(key)?.toLowerCase();
    return text === undefined ? undefined : !["0", "false", "no", "off"].includes(text);
  };
  return {
    channel: values.get("channel") ?? "",
    invite: values.get("invite") ?? "",
    name: values.get("name") ?? undefined,
    autojoin: flag("autojoin") ?? false,
    audio: flag("audio"),
    video: flag("video"),
    debug: flag("debug") ?? false,
  };
}
