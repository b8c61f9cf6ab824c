import { LiveKitRoom, RoomAudioRenderer, StartAudio, useConnectionState } from "@livekit/components-react";
import {
  ConnectionError, ConnectionErrorReason, ConnectionState, MediaDeviceFailure, Room, RoomEvent, Track,
  DisconnectReason, type RoomOptions, type TrackPublication,
} from "livekit-client";
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { retryDelay } from "../shared/backoff";
import { shown } from "../shared/names";
import { Notice } from "../shared/Notice";
import { Chat, useUnread } from "./Chat";
import type { Choices } from "./choices";
import { Controls } from "./Controls";
import type { Seat, SessionEvent } from "./session";
import { Stage } from "./Stage";
import { connectTrouble, deviceTrouble, goodbye, INSECURE, type Trouble } from "./words";

declare global {
  interface Window {
    /** The connection, with `?debug=1` in the page's address only. */
    rostrum?: { room: Room; disconnectReason?: string };
  }
}

/** For so long the client comes back within the running meeting; after it the page takes a fresh connection. */
const SAME_MEETING_MS = 10 * 60_000;

const OPTIONS: RoomOptions = {
  adaptiveStream: true,
  dynacast: true,
  publishDefaults: { simulcast: true },
  reconnectPolicy: {
    nextRetryDelayInMs: ({ retryCount, elapsedMs }) =>
      elapsedMs > SAME_MEETING_MS ? null : retryDelay(retryCount, Math.random()),
  },
};

interface MeetingProps {
  seat: Seat;
  choices: Choices;
  choose: (changed: Partial<Choices>) => void;
  debug: boolean;
  dispatch: (event: SessionEvent) => void;
}

/** One connection to the channel, from connecting to the end. */
export function Meeting({ seat, choices, choose, debug, dispatch }: MeetingProps) {
  const [room] = useState(() => new Room(OPTIONS));
  const [trouble, setTrouble] = useState<Trouble | undefined>(navigator.mediaDevices ? undefined : INSECURE);
  const connected = useRef(false);
  const capable = navigator.mediaDevices !== undefined;
  const audio = useMemo(
    () => capable && choices.audio && (choices.microphone ? { deviceId: choices.microphone } : true),
    [capable, choices.audio, choices.microphone],
  );
  const video = useMemo(
    () => capable && choices.video && (choices.camera ? { deviceId: choices.camera } : true),
    [capable, choices.video, choices.camera],
  );

  useEffect(() => {
    if (!debug) return;
    const inside: Window["rostrum"] = { room };
    window.rostrum = inside;
    // It stays when the meeting has ended, to tell why.
    room.once(RoomEvent.Disconnected, (reason) => (inside.disconnectReason = DisconnectReason[reason ?? 0]));
  }, [debug, room]);

  // Whoever is muted here stays muted when the connection has to be made afresh.
  useEffect(() => {
    const heed = (muted: boolean) => (publication: TrackPublication) => {
      if (publication.source === Track.Source.Microphone) choose({ audio: !muted });
      if (publication.source === Track.Source.Camera) choose({ video: !muted });
    };
    const onMuted = heed(true);
    const onUnmuted = heed(false);
    const own = (handler: (publication: TrackPublication) => void) => (publication: TrackPublication, who: { isLocal: boolean }) => {
      if (who.isLocal) handler(publication);
    };
    const onTrackMuted = own(onMuted);
    const onTrackUnmuted = own(onUnmuted);
    room.on(RoomEvent.TrackMuted, onTrackMuted).on(RoomEvent.TrackUnmuted, onTrackUnmuted)
      .on(RoomEvent.LocalTrackPublished, onUnmuted);
    return () => {
      room.off(RoomEvent.TrackMuted, onTrackMuted).off(RoomEvent.TrackUnmuted, onTrackUnmuted)
        .off(RoomEvent.LocalTrackPublished, onUnmuted);
    };
  }, [room, choose]);

  const onConnected = useCallback(() => {
    connected.current = true;
    dispatch({ is: "connected" });
  }, [dispatch]);
  const onDisconnected = useCallback(
    (reason?: DisconnectReason) => {
      // A connection that never stood is explained by `onError`.
      if (!connected.current) return;
      const why = goodbye(reason);
      dispatch(why ? { is: "failed", trouble: why } : { is: "leave" });
    },
    [dispatch],
  );
  const onError = useCallback(
    (error: Error) => {
      if (connected.current || !(error instanceof ConnectionError)) return;
      const refused = error.reason === ConnectionErrorReason.NotAllowed;
      dispatch({ is: "failed", trouble: connectTrouble(error), refused });
    },
    [dispatch],
  );
  const onMediaDeviceFailure = useCallback(
    (failure?: MediaDeviceFailure, kind?: MediaDeviceKind) => setTrouble(deviceTrouble(kind, failure)),
    [],
  );

  return (
    <LiveKitRoom room={room} serverUrl={seat.url} token={seat.token} audio={audio} video={video}
      onConnected={onConnected} onDisconnected={onDisconnected} onError={onError}
      onMediaDeviceFailure={onMediaDeviceFailure} className="meeting always-dark">
      <RoomAudioRenderer />
      <Conference seat={seat} capable={capable} trouble={trouble} onTrouble={setTrouble}
        onLeave={() => dispatch({ is: "leave" })} choose={choose} />
    </LiveKitRoom>
  );
}

interface ConferenceProps {
  seat: Seat;
  capable: boolean;
  trouble?: Trouble;
  onTrouble: (trouble: Trouble | undefined) => void;
  onLeave: () => void;
  choose: (changed: Partial<Choices>) => void;
}

function Conference({ seat, capable, trouble, onTrouble, onLeave, choose }: ConferenceProps) {
  const [chatOpen, setChatOpen] = useState(false);
  const chat = useUnread(chatOpen);
  return (
    <>
      <header className="meeting-head">
        <h1 className="cut">{shown(seat.channel)}</h1>
        <Connection />
      </header>
      <div className="toasts">
        {trouble && (
          <Notice tone="wait" title={trouble.title} hint={trouble.hint} testId="device-trouble">
            <button className="button quiet" onClick={() => onTrouble(undefined)}>OK</button>
          </Notice>
        )}
        <StartAudio label="Press to hear the meeting" className="button accent" data-testid="start-audio" />
      </div>
      <div className="meeting-body">
        <Stage />
        {chatOpen && <Chat {...chat} onClose={() => setChatOpen(false)} />}
      </div>
      <Controls capable={capable} chatOpen={chatOpen} unread={chat.unread} onChat={() => setChatOpen((open) => !open)}
        onLeave={onLeave} onTrouble={onTrouble} choose={choose} />
    </>
  );
}

const STATES: Record<ConnectionState, [string, string]> = {
  [ConnectionState.Connected]: ["go", "Connected"],
  [ConnectionState.Connecting]: ["wait", "Connecting…"],
  [ConnectionState.Reconnecting]: ["wait", "Connection lost – coming back…"],
  [ConnectionState.SignalReconnecting]: ["wait", "Connection unsteady…"],
  [ConnectionState.Disconnected]: ["wait", "Not connected"],
};

function Connection() {
  const state = useConnectionState();
  const [tone, words] = STATES[state];
  return (
    <span className={`pill ${tone}`} role="status" data-testid="connection" data-state={state}>
      <span className="dot" /> {words}
    </span>
  );
}
