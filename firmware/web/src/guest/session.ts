import type { Trouble } from "./words";

/** What the service gave for an invitation: a seat in the channel. */
export interface Seat {
  /** Address of the service, `ws:` or `wss:`. */
  url: string;
  token: string;
  channel: string;
  user: string;
}

/** Where the guest is between the door and the meeting. A state machine without I/O. */
export type Session =
  /** Choosing a name and devices. */
  | { at: "lobby"; trouble?: Trouble }
  /** Asking the service for a seat. */
  | { at: "entering"; tries: number }
  /** In the meeting, or connecting with a seat. Each `tries` is a fresh connection. */
  | { at: "meeting"; seat: Seat; tries: number }
  /** Waiting before the next try; with a `seat` the same one is taken again. */
  | { at: "waiting"; seat?: Seat; tries: number; trouble: Trouble }
  /** Out; `trouble` says why, and is absent when the guest left. */
  | { at: "out"; trouble?: Trouble };

export type SessionEvent =
  | { is: "join" }
  | { is: "seated"; seat: Seat }
  | { is: "connected" }
  /** No seat, or no connection, or the connection ended. */
  | { is: "failed"; trouble: Trouble; refused?: boolean }
  | { is: "waited" }
  | { is: "leave" };

/**
 * What follows from `event`. What is lost in a meeting comes back by itself: first with the same seat, so that the
 * service knows the guest again, then, when the seat is refused (it may have expired), with a fresh one.
 */
export function next(session: Session, event: SessionEvent): Session {
  switch (event.is) {
    case "join":
      return session.at === "lobby" || session.at === "out" ? { at: "entering", tries: 0 } : session;
    case "seated":
      return session.at === "entering"
        ? { at: "meeting", seat: event.seat, tries: session.tries }
        : session;
    case "connected":
      return session.at === "meeting" ? { ...session, tries: 0 } : session;
    case "failed":
      return failed(session, event.trouble, event.refused ?? false);
    case "waited":
      if (session.at !== "waiting") return session;
      return session.seat
        ? { at: "meeting", seat: session.seat, tries: session.tries }
        : { at: "entering", tries: session.tries };
    case "leave":
      return session.at === "lobby" ? session : { at: "out" };
  }
}

function failed(session: Session, trouble: Trouble, refused: boolean): Session {
  if (session.at !== "entering" && session.at !== "meeting") return session;
  const tries = session.tries + 1;
  const seat = session.at === "meeting" ? session.seat : undefined;
  // A seat that had been good is refused now: it has expired, or the service forgot it. Once, ask for another.
  if (refused && seat && session.tries > 0) return { at: "waiting", tries, trouble };
  if (trouble.passing) return { at: "waiting", seat, tries, trouble };
  return session.at === "entering" && session.tries === 0 ? { at: "lobby", trouble } : { at: "out", trouble };
}
