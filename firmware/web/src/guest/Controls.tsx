import { useMediaDeviceSelect, useTrackToggle } from "@livekit/components-react";
import { MediaDeviceFailure, Track } from "livekit-client";
import { useEffect, useState } from "react";
import { Icon, type IconName } from "../shared/Icon";
import { shortcut } from "../shared/shortcuts";
import type { Choices } from "./choices";
import { deviceTrouble, type Trouble } from "./words";

interface ControlsProps {
  /** Whether the browser gives cameras and microphones at all. */
  capable: boolean;
  chatOpen: boolean;
  unread: number;
  onChat: () => void;
  onLeave: () => void;
  onTrouble: (trouble: Trouble) => void;
  choose: (changed: Partial<Choices>) => void;
}

/** The bar at the foot: microphone (M), camera (V), screen, chat (C), devices, leave. */
export function Controls({ capable, chatOpen, unread, onChat, onLeave, onTrouble, choose }: ControlsProps) {
  const [devicesOpen, setDevicesOpen] = useState(false);
  const failed = (kind: MediaDeviceKind) => (error: Error) =>
    onTrouble(deviceTrouble(kind, MediaDeviceFailure.getFailure(error)));
  const microphone = useTrackToggle({ source: Track.Source.Microphone, onDeviceError: failed("audioinput") });
  const camera = useTrackToggle({ source: Track.Source.Camera, onDeviceError: failed("videoinput") });
  const screen = useTrackToggle({
    source: Track.Source.ScreenShare,
    captureOptions: { audio: true, selfBrowserSurface: "exclude" },
    onDeviceError: (error) => {
      // Closing the browser's own dialog is a choice, not a trouble.
      if (error.name === "NotAllowedError") return;
      onTrouble({ title: "The screen cannot be shared", hint: "Choose another window or screen.", passing: false });
    },
  });
  const canShare = capable && "getDisplayMedia" in navigator.mediaDevices;

  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const keys = {
        m: () => capable && void microphone.toggle(),
        v: () => capable && void camera.toggle(),
        c: onChat,
        Escape: () => setDevicesOpen(false),
      };
      const action = shortcut({ ...strokeOf(event) }, keys);
      if (!action) return;
      event.preventDefault();
      action();
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [capable, microphone, camera, onChat]);

  return (
    <footer className="controls">
      {devicesOpen && (
        <div className="card devices-menu" role="dialog" aria-label="Devices">
          <Devices kind="audioinput" label="Microphone" onChosen={(id) => choose({ microphone: id })} />
          <Devices kind="videoinput" label="Camera" onChosen={(id) => choose({ camera: id })} />
          {"setSinkId" in HTMLMediaElement.prototype && <Devices kind="audiooutput" label="Speaker" />}
        </div>
      )}
      {capable && (
        <>
          <Toggle on={microphone.enabled} busy={microphone.pending} icons={["mic", "micOff"]} testId="mic"
            label={microphone.enabled ? "Mute" : "Unmute"} hint="M" alarm onClick={() => void microphone.toggle()} />
          <Toggle on={camera.enabled} busy={camera.pending} icons={["camera", "cameraOff"]} testId="camera"
            label={camera.enabled ? "Stop camera" : "Start camera"} hint="V" alarm onClick={() => void camera.toggle()} />
        </>
      )}
      {canShare && (
        <Toggle on={screen.enabled} busy={screen.pending} icons={["share", "share"]} testId="share"
          label={screen.enabled ? "Stop sharing" : "Share screen"} onClick={() => void screen.toggle()} />
      )}
      <button className={`button control ${chatOpen ? "accent" : ""}`} data-testid="chat" aria-expanded={chatOpen}
        onClick={onChat} title="Chat (C)">
        <Icon name="chat" /><span className="label">Chat</span>
        {unread > 0 && <span className="badge" aria-label={`${unread} new`}>{unread}</span>}
      </button>
      {capable && (
        <button className="button control" data-testid="devices" aria-expanded={devicesOpen} title="Devices"
          onClick={() => setDevicesOpen((open) => !open)}>
          <Icon name="settings" /><span className="label">Devices</span>
        </button>
      )}
      <button className="button control stop" data-testid="leave" onClick={onLeave} title="Leave the meeting">
        <Icon name="leave" /><span className="label">Leave</span>
      </button>
    </footer>
  );
}

function strokeOf(event: KeyboardEvent) {
  const { key, repeat, ctrlKey, altKey, metaKey } = event;
  return { key, repeat, ctrlKey, altKey, metaKey, target: event.target as HTMLElement | null };
}

interface ToggleProps {
  on: boolean;
  busy: boolean;
  icons: [IconName, IconName];
  label: string;
  testId: string;
  hint?: string;
  /** Off is drawn in red. */
  alarm?: boolean;
  onClick: () => void;
}

function Toggle({ on, busy, icons, label, testId, hint, alarm, onClick }: ToggleProps) {
  const look = alarm ? (on ? "" : "stop") : on ? "accent" : "";
  return (
    <button className={`button control ${look}`} data-testid={testId} data-on={on} disabled={busy} aria-label={label}
      title={hint ? `${label} (${hint})` : label} onClick={onClick}>
      <Icon name={on ? icons[0] : icons[1]} /><span className="label">{label}</span>
    </button>
  );
}

function Devices({ kind, label, onChosen }: { kind: MediaDeviceKind; label: string; onChosen?: (id: string) => void }) {
  const { devices, activeDeviceId, setActiveMediaDevice } = useMediaDeviceSelect({ kind });
  return (
    <label className="field">
      <span>{label}</span>
      <select data-testid={`choose-${kind}`} disabled={devices.length === 0}
        value={devices.some((device) => device.deviceId === activeDeviceId) ? activeDeviceId : devices[0]?.deviceId}
        onChange={(event) => {
          void setActiveMediaDevice(event.target.value);
          onChosen?.(event.target.value);
        }}>
        {devices.length === 0 && <option>None found</option>}
        {devices.map((device, index) => (
          <option key={device.deviceId} value={device.deviceId}>{device.label || `${label} ${index + 1}`}</option>
        ))}
      </select>
    </label>
  );
}
