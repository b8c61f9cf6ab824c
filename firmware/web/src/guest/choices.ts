import { recall, remember } from "../shared/store";
import type { Link } from "./link";

/** What the guest wants to send, and with which devices. */
export interface Choices {
  /** As the guest typed it; `toName` makes a name of the wire of it. */
  name: string;
  audio: boolean;
  video: boolean;
  /** Identifiers of devices as the browser gives them; empty is the browser's default. */
  microphone: string;
  camera: string;
}

const KEY = "rostrum.guest";

/** What to start with: the address first, then what this browser remembers, then everything on. */
export function firstChoices(link: Link, remembered: Partial<Choices>, fallbackName: string): Choices {
  return {
    name: link.name ?? (remembered.name || fallbackName),
    audio: link.audio ?? remembered.audio ?? true,
    video: link.video ?? remembered.video ?? true,
    microphone: remembered.microphone ?? "",
    camera: remembered.camera ?? "",
  };
}

/** What this browser remembers from the last time. */
export function recallChoices(): Partial<Choices> {
  return recall<Partial<Choices>>(KEY, {});
}

/** Remembers `choices` for the next time. */
export function rememberChoices(choices: Choices): void {
  remember(KEY, choices);
}
