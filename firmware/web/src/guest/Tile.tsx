import {
  isTrackReference, useConnectionQualityIndicator, useIsMuted, useIsSpeaking, VideoTrack,
} from "@livekit/components-react";
import type { TrackReferenceOrPlaceholder } from "@livekit/components-react";
import { ConnectionQuality, Track } from "livekit-client";
import { Icon } from "../shared/Icon";
import { shown } from "../shared/names";

/** The first letters of a name, for whoever shows no picture. */
function initials(name: string): string {
  const words = name.split(" ").filter(Boolean);
  return ((words[0]?.[0] ?? "?") + (words.length > 1 ? words[words.length - 1]![0] : "")).toUpperCase();
}

/** One picture with its name: a person's camera, or a shared screen. */
export function Tile({ track }: { track: TrackReferenceOrPlaceholder }) {
  const { participant, source } = track;
  const screen = source === Track.Source.ScreenShare;
  const speaking = useIsSpeaking(participant);
  const microphoneMuted = useIsMuted({ participant, source: Track.Source.Microphone });
  const pictureMuted = useIsMuted(track);
  const { quality } = useConnectionQualityIndicator({ participant });
  const visible = isTrackReference(track) && !pictureMuted;
  const name = shown(participant.name || participant.identity);
  const who = participant.isLocal ? "You" : name;
  const side = participant.isLocal ? "local" : "remote";

  return (
    <article className={`tile ${side} ${speaking && !screen ? "speaking" : ""}`} data-testid={`${side}-tile`}
      data-lk-participant={participant.identity} data-lk-source={source} data-speaking={speaking}
      data-muted={microphoneMuted} aria-label={screen ? `Screen of ${who}` : who}>
      {visible && (
        <VideoTrack trackRef={track} data-testid={`${side}-video`} data-lk-participant={participant.identity}
          className={participant.isLocal && !screen ? "mirror" : ""} />
      )}
      {!visible && <div className="initials" aria-hidden="true"><span>{initials(name)}</span></div>}
      <footer>
        {microphoneMuted && !screen && <span className="flag" title="Microphone off"><Icon name="micOff" /></span>}
        {(quality === ConnectionQuality.Poor || quality === ConnectionQuality.Lost) && (
          <span className="flag poor" title="Weak connection"><Icon name="warning" /></span>
        )}
        <span className="cut">{screen ? `${who}: screen` : who}</span>
      </footer>
    </article>
  );
}
