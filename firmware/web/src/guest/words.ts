import { ConnectionErrorReason, DisconnectReason, MediaDeviceFailure } from "livekit-client";

/** What went wrong, in plain words, and what to do about it. */
export interface Trouble {
  title: string;
  hint: string;
  /** It may heal by waiting: the page tries again by itself. */
  passing: boolean;
}

const UNREACHABLE: Trouble = {
  title: "The meeting service cannot be reached",
  hint: "Check that you are connected to the network. We keep trying.",
  passing: true,
};

/**
 * Why a meeting or an invitation was refused. `status` is the HTTP status, `said` what the service said (its words
 * name the thing, such as an expired link or a full channel) and `advice` its hint.
 */
export function refusal(status: number, said = "", advice = ""): Trouble {
  const words = said.toLowerCase();
  const firm = (title: string, hint: string): Trouble => ({ title, hint: advice || hint, passing: false });
  if (/\bfull\b/.test(words)) return firm("The meeting is full", "Ask somebody to leave, then try again.");
  if (status === 410 || words.includes("expired")) {
    return firm("This link has expired", "Ask for a new link: the room's panel makes one.");
  }
  if (status === 429) {
    return { title: "The meeting service is busy", hint: "We try again in a moment.", passing: true };
  }
  if (status >= 500) {
    return { title: "The meeting service has a problem", hint: advice || "We keep trying.", passing: true };
  }
  if (/\bname\b/.test(words)) return firm("This name cannot be used", "Choose a name of letters and digits.");
  if (status === 404) return firm("This meeting is not there", "Ask for a new link: the room's panel makes one.");
  return firm("This link is not valid", "Open it again as you got it, or ask for a new one.");
}

/** Why no connection could be made: what `Room.connect` threw, taken apart. */
export function connectTrouble(error: { reason?: number; status?: number; message?: string; context?: unknown }): Trouble {
  if (error.reason === ConnectionErrorReason.NotAllowed) return refusal(error.status ?? 401, error.message);
  if (error.reason === ConnectionErrorReason.LeaveRequest && typeof error.context === "number") {
    return goodbye(error.context) ?? UNREACHABLE;
  }
  const { status } = (error.context ?? {}) as { status?: number };
  if (typeof status === "number" && status >= 400) return refusal(status, error.message);
  return UNREACHABLE;
}

/** Why the service ended the meeting; nothing when the guest left. */
export function goodbye(reason: DisconnectReason | undefined): Trouble | undefined {
  const ended = (title: string, hint: string): Trouble => ({ title, hint, passing: false });
  switch (reason) {
    case DisconnectReason.CLIENT_INITIATED:
      return undefined;
    case DisconnectReason.DUPLICATE_IDENTITY:
      return ended("You joined from somewhere else", "The meeting goes on in your other window or device.");
    case DisconnectReason.PARTICIPANT_REMOVED:
      return ended("You were taken out of the meeting", "Ask the room if that was a mistake.");
    case DisconnectReason.ROOM_DELETED:
    case DisconnectReason.ROOM_CLOSED:
      return ended("The meeting has ended", "Thank you for being here.");
    default:
      return { title: "The connection was lost", hint: "We bring you back by ourselves.", passing: true };
  }
}

/** Why a camera or microphone gives nothing. */
export function deviceTrouble(kind: MediaDeviceKind | undefined, failure: MediaDeviceFailure | undefined): Trouble {
  const thing = kind === "videoinput" ? "camera" : kind === "audioinput" ? "microphone" : "camera or microphone";
  const trouble = (title: string, hint: string): Trouble => ({ title, hint, passing: false });
  switch (failure) {
    case MediaDeviceFailure.PermissionDenied:
      return trouble(`Your browser does not let us use your ${thing}`, "Allow it by the symbol beside the page's address.");
    case MediaDeviceFailure.NotFound:
      return trouble(`No ${thing} was found`, "Plug one in, or go on without: you can see, hear and chat.");
    case MediaDeviceFailure.DeviceInUse:
      return trouble(`Your ${thing} is used by another program`, "Close the other program, then switch it on again.");
    default:
      return trouble(`Your ${thing} does not start`, "Choose another one, or go on without.");
  }
}

/** The page came over plain http from another machine: browsers then give no camera and no microphone. */
export const INSECURE: Trouble = {
  title: "You can watch, listen and chat only",
  hint: "This page's address is not secure (http), so your browser gives no camera and no microphone. Use the https address.",
  passing: false,
};
