import type { Figure, MuteReason, Phase, RoomState } from "./types";

/** The state in the biggest letters of the page. */
export const PHASES: Record<Phase, string> = {
  idle: "Ready",
  joining: "Joining…",
  in_channel: "In the meeting",
  reconnecting: "Connection lost, coming back…",
  leaving: "Leaving…",
};

/** Whether the room may be heard, and why not. */
const REASONS: Record<MuteReason, string> = {
  not_in_meeting: "The microphones open when you join.",
  switch: "The switch on the device cuts the microphones. Flip it back to be heard.",
  switch_fault: "The mute switch cannot be read, so the room stays muted.",
  microphones_fault: "The microphones failed. Press Unmute when they work again.",
  light_fault: "The mute light failed. Press Unmute to be heard all the same.",
  button: "Muted by the button on the device.",
  page: "Muted on this page.",
  far_end: "Somebody in the meeting muted this room.",
  joined_muted: "This room joins muted. Press Unmute to be heard.",
};

/** Whether others hear the room, in a headline and a sentence. */
export function hearing(room: RoomState): { title: string; detail: string } {
  if (!room.muted) return { title: "This room is heard", detail: "Everybody in the meeting hears you." };
  const detail = room.mute_reason ? REASONS[room.mute_reason] ?? "" : "Nobody hears this room.";
  return { title: room.mute_reason === "not_in_meeting" ? "Microphones closed" : "Muted", detail };
}

/** Whether the room is in a meeting or on the way into one. */
export function inMeeting(phase: Phase): boolean {
  return phase === "joining" || phase === "in_channel" || phase === "reconnecting";
}

/** A length of time as people say it, from microseconds. */
export function lasted(us: number): string {
  const minutes = Math.floor(Math.max(0, us) / 60e6);
  if (minutes < 1) return "under a minute";
  if (minutes < 60) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Who else is there, as a sentence. */
export function company(others: number): string {
  if (others === 0) return "Nobody else is here yet";
  return others === 1 ? "1 other is here" : `${others} others are here`;
}

/** The name of a snake_case role or fault, as a label. */
export function label(name: string): string {
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** A figure of a test, with its unit. */
export function measured(figure: Figure): string {
  return [figure.name, figure.value, figure.unit].join(" ").trim();
}
