import type { Seat } from "./session";
import { refusal, type Trouble } from "./words";

/** Answer to an invitation. */
export type Answer = { seat: Seat } | { trouble: Trouble; refused: boolean };

/** Shows an invitation to the service (`POST /api/v1/guests`) and gets a seat in its channel, or why not. */
export async function redeem(invite: string, name: string, signal: AbortSignal): Promise<Answer> {
  let response: Response;
  try {
    response = await fetch("/api/v1/guests", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ invite, name }),
      signal,
    });
  } catch {
    return { trouble: refusal(503), refused: false };
  }
  const body = (await response.json().catch(() => ({}))) as Record<string, unknown>;
  const text = (key: string): string => (typeof body[key] === "string" ? body[key] : "");
  if (!response.ok) {
    return { trouble: refusal(response.status, text("error"), text("hint")), refused: true };
  }
  if (text("token") === "") return { trouble: refusal(502), refused: false };
  const url = text("url") || window.location.origin.replace(/^http/, "ws");
  return { seat: { url, token: text("token"), channel: text("channel"), user: text("user") } };
}
