import { useState } from "react";
import { Icon } from "../shared/Icon";
import { applyTheme, theme, type Theme } from "./theme";
import type { Settings } from "./types";
import { usePanel } from "./usePanel";

const SIZES: [Settings["max_layer"], string][] = [["high", "Up to 1080p"], ["mid", "Up to 720p"], ["low", "Up to 360p"]];
const TURNS: [Settings["orientation"], string][] = [
  [0, "As it is"], [90, "Quarter turn right"], [180, "Upside down"], [270, "Quarter turn left"],
];
const PREFERENCES: [Settings["preference"], string][] = [["sharpness", "Sharp picture"], ["fluency", "Smooth motion"]];
const THEMES: [Theme, string][] = [["auto", "As the system"], ["light", "Light"], ["dark", "Dark"]];

const SWITCHES: [keyof Settings, string, string][] = [
  ["mirrored", "Mirror the camera", "For a room that looks at itself"],
  ["self_view", "Show ourselves", "Our own picture on the room's screen"],
  ["join_muted", "Join muted", "The microphones stay closed until somebody unmutes"],
  ["audio_only", "Sound only", "Neither send nor show pictures"],
];

/** What can be changed in a meeting. */
export function RoomSettings() {
  const { state, act } = usePanel();
  const { settings } = state;
  const [look, setLook] = useState(theme);
  const change = (patch: Partial<Settings>) => void act("PATCH", "settings", patch);
  return (
    <section className="card stack settings" data-testid="settings">
      <h2 className="row"><Icon name="settings" /> Settings</h2>
      <div className="choices">
        <Choice label="Picture size" testId="setting-max_layer" value={settings.max_layer} options={SIZES}
          onChange={(max_layer) => change({ max_layer })} />
        <Choice label="When the network is slow" testId="setting-preference" value={settings.preference} options={PREFERENCES}
          onChange={(preference) => change({ preference })} />
        <Choice label="Turn the picture" testId="setting-orientation" value={settings.orientation} options={TURNS}
          onChange={(orientation) => change({ orientation })} />
        <Choice label="This page" testId="setting-theme" value={look} options={THEMES}
          onChange={(chosen) => {
            applyTheme(chosen);
            setLook(chosen);
          }} />
      </div>
      <div>
        {SWITCHES.map(([key, label, hint]) => (
          <label className="switch-row" key={key}>
            <span>{label}<span className="soft small hint">{hint}</span></span>
            <input type="checkbox" className="switch" data-testid={`setting-${key}`} checked={Boolean(settings[key])}
              onChange={(event) => change({ [key]: event.target.checked })} />
          </label>
        ))}
      </div>
    </section>
  );
}

interface ChoiceProps<T> {
  label: string;
  testId: string;
  value: T;
  options: [T, string][];
  onChange: (value: T) => void;
}

function Choice<T extends string | number>({ label, testId, value, options, onChange }: ChoiceProps<T>) {
  return (
    <label className="field">
      <span>{label}</span>
      <select className="input" data-testid={testId} value={value}
        onChange={(event) => {
          const chosen = options.find(([option]) => String(option) === event.target.value);
          if (chosen) onChange(chosen[0]);
        }}>
        {options.map(([option, words]) => <option key={option} value={option}>{words}</option>)}
      </select>
    </label>
  );
}
