import { useState } from "react";
import { Icon } from "../shared/Icon";
import { shown } from "../shared/names";
import { Slider } from "./Slider";
import { useDeviceTime, usePanel } from "./usePanel";
import { company, hearing, inMeeting, lasted, PHASES } from "./words";

const VOLUME_STEP = 5;

/** What the room does, in big words, and the three things that everybody needs: join, mute, volume. */
export function Meeting() {
  const { state, act } = usePanel();
  const nowUs = useDeviceTime();
  const { room, channel, volume } = state;
  const [busy, setBusy] = useState("");
  const inside = inMeeting(room.phase);
  const heard = hearing(room);

  const once = async (what: string, method: string, path: string, body?: unknown) => {
    setBusy(what);
    await act(method, path, body);
    setBusy("");
  };
  const setVolume = (value: number) => act("PUT", "volume", { volume: Math.min(100, Math.max(0, value)) });

  let detail = channel ? `Press Join to meet in ${shown(channel)}.` : "Press Join to begin.";
  if (room.phase === "in_channel") {
    detail = `${company(state.participants.length)} · ${lasted(nowUs - room.phase_since_us)}`;
  } else if (room.phase !== "idle") {
    detail = channel ? shown(channel) : "";
  }

  return (
    <header className={`meeting ${room.phase}`}>
      <div className="meeting-state">
        <p className="soft cut" data-testid="room-name">
          {shown(state.display_name) || "This room"}{inside && channel ? ` · ${shown(channel)}` : ""}
        </p>
        <h1 data-testid="phase" data-phase={room.phase} aria-live="polite">{PHASES[room.phase]}</h1>
        <p className="soft">{detail}</p>
      </div>
      <div className={`hearing ${room.muted ? (inside ? "muted" : "closed") : "heard"}`} data-testid="hearing"
        data-muted={room.muted} data-reason={room.mute_reason ?? ""} aria-live="assertive">
        <Icon name={room.muted ? "micOff" : "mic"} />
        <div>
          <strong>{heard.title}</strong>
          <span>{heard.detail}</span>
        </div>
      </div>
      <div className="big-buttons">
        {inside ? (
          <button className="button stop big" data-testid="leave" disabled={busy === "meeting"}
            onClick={() => void once("meeting", "POST", "leave")}>
            <Icon name="leave" /> {room.phase === "joining" ? "Cancel" : "Leave"}
          </button>
        ) : (
          <button className="button go big" data-testid="join" disabled={busy === "meeting" || room.phase === "leaving"}
            onClick={() => void once("meeting", "POST", "join")}>
            <Icon name="join" /> Join
          </button>
        )}
        <button className={`button big ${room.muted && inside ? "stop-quiet" : ""}`} data-testid="mute"
          aria-pressed={room.muted} disabled={busy === "mute" || (room.muted && !room.can_unmute)}
          onClick={() => void once("mute", "PUT", "mute", { muted: !room.muted })}>
          <Icon name={room.muted ? "micOff" : "mic"} /> {room.muted ? "Unmute" : "Mute"}
        </button>
      </div>
      <div className="volume" role="group" aria-label="Volume of the speaker">
        <button className="button icon-only" aria-label="Quieter" data-testid="volume-down" disabled={volume <= 0}
          onClick={() => void setVolume(volume - VOLUME_STEP)}>
          <Icon name={volume === 0 ? "volumeOff" : "minus"} />
        </button>
        <Slider label="Volume" testId="volume" minimum={0} maximum={100} step={1} value={volume}
          spoken={(value) => `${value} %`} send={(value) => act("PUT", "volume", { volume: value })} />
        <button className="button icon-only" aria-label="Louder" data-testid="volume-up" disabled={volume >= 100}
          onClick={() => void setVolume(volume + VOLUME_STEP)}>
          <Icon name="plus" />
        </button>
      </div>
    </header>
  );
}
