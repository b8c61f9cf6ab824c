import { useRef } from "react";
import { Icon, type IconName } from "../shared/Icon";
import type { Light } from "./types";
import { usePanel } from "./usePanel";
import { label } from "./words";

const ICONS: Record<string, IconName> = { join: "join", mute: "micOff", volume_up: "plus", volume_down: "minus" };
const BUTTONS: Record<string, string> = { volume_up: "Louder", volume_down: "Quieter", reset: "Reset" };
const FAULTS: Record<string, string> = {
  camera_unplugged: "Unplug the camera",
  camera_frozen: "Freeze the camera's picture",
  frames_late: "Camera frames come late",
  microphone_silent: "Microphones go silent",
  encoder_error: "The encoder fails",
  speaker_gone: "Unplug the speaker",
  mute_switch_gone: "The mute switch cannot be read",
  content_display_gone: "Unplug the second screen",
};

/** The virtual device: its lights as they really are, its buttons to press, its parts to break. */
export function VirtualBoard() {
  const { state, act } = usePanel();
  const { board } = state;
  const lights = board?.indicators ?? state.indicators;
  const buttons = board ? Object.keys(board.buttons) : state.buttons;
  const faults = Object.entries(board?.faults ?? {});
  const active = faults.filter(([, on]) => on).length;
  return (
    <section className="card stack board" data-testid="board">
      <h2 className="row"><Icon name="bolt" /> Virtual board</h2>
      <div className="device">
        <div className="lights">
          <Lamp name="status" light={lights.status} />
          <Lamp name="mute" light={lights.mute} />
        </div>
        <div className="device-buttons">
          {buttons.map((role) => <DeviceButton key={role} role={role} held={board?.buttons[role] ?? false} />)}
        </div>
      </div>
      <details className="more" data-testid="board-details">
        <summary>Switch and faults{active > 0 && <span className="count alarm">{active}</span>}</summary>
        <label className="switch-row">
          <span>Mute switch<span className="soft small hint">Cuts the microphones in hardware</span></span>
          <input type="checkbox" className="switch" data-testid="mute-switch" checked={board?.mute_switch_cut ?? false}
            onChange={(event) => void act("PUT", "board/mute_switch", { cut: event.target.checked })} />
        </label>
        {faults.map(([name, on]) => (
          <label className="switch-row" key={name}>
            <span>{FAULTS[name] ?? label(name)}</span>
            <input type="checkbox" className="switch alarm" data-testid={`fault-${name}`} checked={on}
              onChange={(event) => void act("PUT", `board/faults/${name}`, { active: event.target.checked })} />
          </label>
        ))}
      </details>
    </section>
  );
}

const COLOURS: [string, (r: number, g: number, b: number) => boolean][] = [
  ["dark", (r, g, b) => r + g + b < 12],
  ["white", (r, g, b) => Math.min(r, g, b) > 0.6 * Math.max(r, g, b)],
  ["amber", (r, g, b) => r > 0 && g > 0.25 * r && g <= r && b < 0.5 * g],
  ["red", (r, g, b) => r >= g && r >= b],
  ["green", (r, g, b) => g >= r && g >= b],
  ["blue", () => true],
];

function Lamp({ name, light }: { name: string; light: Light }) {
  const [r, g, b] = light.rgb;
  const colour = COLOURS.find(([, is]) => is(r, g, b))![0];
  const words = `${label(name)} light: ${colour}${light.blink_ms !== null && colour !== "dark" ? ", blinking" : ""}`;
  return (
    <div className="lamp" role="img" aria-label={words} title={words} data-testid={`light-${name}`} data-rgb={light.rgb.join(",")}
      data-blink={light.blink_ms ?? ""}>
      {/* A new key at each change starts the blinking afresh, as the device does. */}
      <span key={`${light.rgb}/${light.blink_ms}`} className={`bulb ${colour === "dark" ? "off" : ""} ${light.blink_ms !== null ? "blinking" : ""}`}
        style={{ "--light": `rgb(${r} ${g} ${b})`, "--period": `${(light.blink_ms ?? 0) * 2}ms` } as React.CSSProperties} />
      <span className="small">{label(name)}</span>
    </div>
  );
}

function DeviceButton({ role, held }: { role: string; held: boolean }) {
  const { act } = usePanel();
  const down = useRef(false);
  const words = BUTTONS[role] ?? label(role);
  const path = `board/buttons/${role}`;
  const release = () => {
    if (!down.current) return;
    down.current = false;
    void act("POST", path, { pressed: false });
  };
  return (
    <button className={`device-button ${held ? "held" : ""}`} aria-label={`${words} button of the device`} data-testid={`button-${role}`}
      onPointerDown={(event) => {
        if (event.button !== 0) return;
        event.currentTarget.setPointerCapture(event.pointerId);
        down.current = true;
        void act("POST", path, { pressed: true });
      }}
      onPointerUp={release} onPointerCancel={release} onLostPointerCapture={release}
      onContextMenu={(event) => event.preventDefault()}
      onClick={(event) => event.detail === 0 && void act("POST", path, {})}>
      <Icon name={ICONS[role] ?? "bolt"} />
      <span className="small">{words}</span>
    </button>
  );
}
