import { useMediaDevices } from "@livekit/components-react";
import type { LocalTrack } from "livekit-client";
import { useCallback, useEffect, useRef, useState } from "react";
import { Icon } from "../shared/Icon";
import { isName, shown } from "../shared/names";
import { Notice } from "../shared/Notice";
import type { Choices } from "./choices";
import type { Link } from "./link";
import { Meter, usePreview } from "./preview";
import { INSECURE, type Trouble } from "./words";

interface LobbyProps {
  link: Link;
  choices: Choices;
  choose: (changed: Partial<Choices>) => void;
  /** The name that others will see. */
  name: string;
  trouble?: Trouble;
  onJoin: () => void;
}

/** The door: a name, a look at oneself, a choice of devices, and Join. */
export function Lobby({ link, choices, choose, name, trouble, onJoin }: LobbyProps) {
  const secure = navigator.mediaDevices !== undefined;
  return (
    <main className="lobby" data-testid="lobby">
      <header>
        <p className="soft">You are invited to</p>
        <h1 data-testid="channel">{link.channel ? shown(link.channel) : "a meeting"}</h1>
      </header>
      {link.invite === "" && (
        <Notice tone="stop" title="This link is not complete" hint="Open it again as you got it." testId="trouble" />
      )}
      {trouble && <Notice tone="stop" title={trouble.title} hint={trouble.hint} testId="trouble" />}
      <div className="lobby-body">
        {secure ? <Preview choices={choices} choose={choose} /> : (
          <Notice tone="wait" title={INSECURE.title} hint={INSECURE.hint} testId="insecure" />
        )}
        <form
          className="card stack"
          onSubmit={(event) => {
            event.preventDefault();
            onJoin();
          }}
        >
          <label className="field">
            <span>Your name</span>
            <input data-testid="name" value={choices.name} maxLength={64} autoComplete="nickname" autoFocus
              onChange={(event) => choose({ name: event.target.value })} onFocus={(event) => event.target.select()} />
          </label>
          <p className="soft small" aria-live="polite">
            {isName(choices.name) ? "Everybody in the meeting sees it." : <>Others see you as <b>{name}</b>.</>}
          </p>
          <button className="button go join" data-testid="join" disabled={link.invite === ""}>
            <Icon name="join" /> Join
          </button>
        </form>
      </div>
    </main>
  );
}

/** The guest's own picture and level, with the choice of devices. */
function Preview({ choices, choose }: Pick<LobbyProps, "choices" | "choose">) {
  const camera = usePreview("videoinput", choices.video, choices.camera);
  const microphone = usePreview("audioinput", choices.audio, choices.microphone);
  const video = useRef<HTMLVideoElement>(null);

  useEffect(() => {
    const element = video.current;
    const track = camera.track;
    if (!element || !track) return;
    track.attach(element);
    return () => {
      track.detach(element);
    };
  }, [camera.track]);

  return (
    <section className="preview" aria-label="Your camera and microphone">
      <div className="preview-picture">
        <video ref={video} muted playsInline autoPlay className="mirror" hidden={!camera.track} data-testid="preview" />
        {!camera.track && (
          <div className="preview-off">
            <Icon name="cameraOff" />
            <span>{camera.starting ? "Starting the camera…" : "Your camera is off"}</span>
          </div>
        )}
        <div className="preview-bar">
          <Switch on={choices.audio} icon={["mic", "micOff"]} what="microphone" testId="preview-mic"
            onChange={(audio) => choose({ audio })} />
          <Switch on={choices.video} icon={["camera", "cameraOff"]} what="camera" testId="preview-camera"
            onChange={(video) => choose({ video })} />
        </div>
        {microphone.track && <Meter track={microphone.track} />}
      </div>
      {camera.trouble && <Notice tone="wait" title={camera.trouble.title} hint={camera.trouble.hint} />}
      {microphone.trouble && <Notice tone="wait" title={microphone.trouble.title} hint={microphone.trouble.hint} />}
      <div className="devices">
        <Device kind="audioinput" label="Microphone" value={choices.microphone} track={microphone.track}
          onChange={(microphone) => choose({ microphone, audio: true })} />
        <Device kind="videoinput" label="Camera" value={choices.camera} track={camera.track}
          onChange={(camera) => choose({ camera, video: true })} />
      </div>
    </section>
  );
}

interface SwitchProps {
  on: boolean;
  icon: ["mic", "micOff"] | ["camera", "cameraOff"];
  what: string;
  testId: string;
  onChange: (on: boolean) => void;
}

function Switch({ on, icon, what, testId, onChange }: SwitchProps) {
  const label = `Turn ${what} ${on ? "off" : "on"}`;
  return (
    <button type="button" className={`button icon-only round ${on ? "" : "stop"}`} aria-label={label} title={label}
      data-testid={testId} data-on={on} onClick={() => onChange(!on)}>
      <Icon name={on ? icon[0] : icon[1]} />
    </button>
  );
}

interface DeviceProps {
  kind: MediaDeviceKind;
  label: string;
  value: string;
  /** The device that is open now; the browser tells the names of devices only when one is. */
  track?: LocalTrack;
  onChange: (id: string) => void;
}

function Device({ kind, label, value, track, onChange }: DeviceProps) {
  const [, setError] = useState<Error>();
  const devices = useMediaDevices({ kind, onError: useCallback((error: Error) => setError(error), []) });
  const named = devices.filter((device) => device.deviceId !== "" && device.label !== "");
  if (named.length === 0) return null;
  const open = track?.mediaStreamTrack.getSettings().deviceId;
  const shownId = [value, open].find((id) => named.some((device) => device.deviceId === id));
  return (
    <label className="field grow">
      <span>{label}</span>
      <select value={shownId ?? ""} onChange={(event) => onChange(event.target.value)} data-testid={`choose-${kind}`}>
        {shownId === undefined && <option value="">As the browser chooses</option>}
        {named.map((device) => <option key={device.deviceId} value={device.deviceId}>{device.label}</option>)}
      </select>
    </label>
  );
}
