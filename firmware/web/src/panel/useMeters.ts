import { useEffect, useState } from "react";
import { retryDelay } from "../shared/backoff";
import type { VoiceMeters } from "./types";

/** What the room's voice measures, ten times a second, while `looked` says that somebody can see it. */
export function useMeters(looked: boolean): VoiceMeters | undefined {
  const [meters, setMeters] = useState<VoiceMeters>();
  useEffect(() => {
    if (!looked) return;
    let socket: WebSocket;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let tries = 0;
    const open = () => {
      socket = new WebSocket(`${window.location.origin.replace(/^http/, "ws")}/api/v1/voice/live`);
      socket.onmessage = (message) => {
        tries = 0;
        setMeters(JSON.parse(String(message.data)) as VoiceMeters);
      };
      socket.onclose = () => {
        // What stands still would look like silence.
        setMeters(undefined);
        timer = setTimeout(open, retryDelay(tries++, Math.random()));
      };
    };
    open();
    return () => {
      clearTimeout(timer);
      socket.onclose = null;
      socket.close();
    };
  }, [looked]);
  return meters;
}
