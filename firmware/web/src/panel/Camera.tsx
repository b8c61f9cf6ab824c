import { useEffect, useMemo, useRef, useState } from "react";
import { Icon, type IconName } from "../shared/Icon";
import { Notice } from "../shared/Notice";
import { Latest } from "./latest";
import { Presets } from "./Presets";
import { spoken, stepped } from "./ptz";
import { Slider } from "./Slider";
import type { Control } from "./types";
import { usePanel } from "./usePanel";
import { label } from "./words";

/** How often a held arrow steps. */
const STEP_MS = 110;
/** After so long without a touch the arrows start again from where the device says the camera is. */
const FORGET_MS = 1500;

const DIRECTIONS: { control: string; direction: 1 | -1; icon: IconName; label: string; place: string }[] = [
  { control: "tilt", direction: 1, icon: "up", label: "Tilt up", place: "up" },
  { control: "pan", direction: -1, icon: "left", label: "Turn left", place: "left" },
  { control: "pan", direction: 1, icon: "right", label: "Turn right", place: "right" },
  { control: "tilt", direction: -1, icon: "down", label: "Tilt down", place: "down" },
];

const SLIDERS = [
  "pan", "tilt", "zoom", "focus", "exposure", "gain", "white_balance", "backlight", "brightness", "contrast", "saturation",
  "sharpness",
];
const SWITCHES: Record<string, string> = {
  focus_auto: "Focus by itself", exposure_auto: "Exposure by itself", white_balance_auto: "White balance by itself",
  privacy: "Privacy cover",
};
/** Controls of the camera's vendor, which the board's profile names. */
const VENDOR = "vendor_";
const isVendors = (name: string) => name.startsWith(VENDOR);
/** What the mains do to lamps. */
const POWER_LINES: [number, string][] = [[0, "Not removed"], [1, "50 Hz mains"], [2, "60 Hz mains"], [3, "Found by itself"]];
/** Which switch takes a slider out of the hand. */
const AUTOMATIC: Record<string, string> = {
  focus: "focus_auto", exposure: "exposure_auto", white_balance: "white_balance_auto",
};

/** Pan, tilt and zoom by press and hold, exact values by sliders, and presets. */
export function Camera() {
  const { state, act } = usePanel();
  const camera = state.camera;
  const controls = useMemo(
    () => new Map((camera?.controls ?? []).map((control) => [control.control, control])),
    [camera?.controls],
  );
  const steps = useSteps(controls);
  if (!camera) return null;

  const set = (control: string, value: number) => act("PUT", `camera/controls/${control}`, { value });
  const movable = (name: string) => controls.has(name) && !controls.get(name)!.read_only;
  const covered = controls.get("privacy")?.value === 1;
  const home = () => {
    for (const name of ["pan", "tilt", "zoom"]) {
      if (movable(name)) void set(name, controls.get(name)!.default);
    }
    steps.forget();
  };

  return (
    <section className="card stack camera" data-testid="camera">
      <h2 className="row"><Icon name="camera" /> Camera <span className="soft small cut grow">{camera.name}</span></h2>
      {covered && <Notice tone="wait" title="The camera is covered" hint="Open its cover, or switch Privacy cover off." />}
      {(movable("pan") || movable("tilt") || movable("zoom")) && (
        <div className="ptz">
          <div className="pad" role="group" aria-label="Turn the camera">
            {DIRECTIONS.map((arrow) => (
              <Hold key={arrow.place} className={`pad-${arrow.place}`} icon={arrow.icon} label={arrow.label}
                testId={`ptz-${arrow.place}`} disabled={!movable(arrow.control)}
                step={() => steps.step(arrow.control, arrow.direction)} />
            ))}
            <button className="button pad-home" aria-label="Back to the middle" title="Back to the middle" data-testid="ptz-home"
              onClick={home}>
              <Icon name="home" />
            </button>
          </div>
          <div className="zoom" role="group" aria-label="Zoom">
            <Hold icon="plus" label="Zoom in" testId="zoom-in" disabled={!movable("zoom")} step={() => steps.step("zoom", 1)} />
            <Hold icon="minus" label="Zoom out" testId="zoom-out" disabled={!movable("zoom")} step={() => steps.step("zoom", -1)} />
          </div>
          <Presets />
        </div>
      )}
      <details className="more">
        <summary>Exact settings</summary>
        <div className="stack">
          {[...SLIDERS, ...[...controls.keys()].filter(isVendors)].filter((name) => controls.has(name)).map((name) => {
            const control = controls.get(name)!;
            const byItself = controls.get(AUTOMATIC[name] ?? "")?.value === 1;
            return (
              <Slider key={name} label={label(name.replace(VENDOR, ""))} testId={`control-${name}`} minimum={control.minimum}
                maximum={control.maximum} step={Math.max(1, control.step)} value={control.value}
                disabled={control.read_only || byItself}
                spoken={(value) => (byItself ? "by itself" : spoken(name, value))}
                send={(value) => set(name, value)} />
            );
          })}
          {controls.has("power_line") && (
            <label className="field">
              <span>Flicker of lamps</span>
              <select className="input" data-testid="control-power_line" value={controls.get("power_line")!.value}
                disabled={controls.get("power_line")!.read_only}
                onChange={(event) => void set("power_line", Number(event.target.value))}>
                {POWER_LINES.filter(([value]) => value <= controls.get("power_line")!.maximum).map(([value, words]) => (
                  <option key={value} value={value}>{words}</option>
                ))}
              </select>
            </label>
          )}
          {Object.keys(SWITCHES).filter((name) => controls.has(name)).map((name) => (
            <label className="switch-row" key={name}>
              <span>{SWITCHES[name]}</span>
              <input type="checkbox" className="switch" data-testid={`control-${name}`} checked={controls.get(name)!.value === 1}
                disabled={controls.get(name)!.read_only} onChange={(event) => void set(name, event.target.checked ? 1 : 0)} />
            </label>
          ))}
        </div>
      </details>
    </section>
  );
}

/** Steps of controls, each from where the last one was to bring it, so that holding does not wait for the device. */
function useSteps(controls: Map<string, Control>) {
  const { act } = usePanel();
  const known = useRef(controls);
  known.current = controls;
  return useMemo(() => {
    const targets = new Map<string, { value: number; at: number; latest: Latest<number> }>();
    return {
      step(name: string, direction: 1 | -1) {
        const control = known.current.get(name);
        if (!control) return;
        const now = performance.now();
        const old = targets.get(name);
        const from = old && now - old.at < FORGET_MS ? old.value : control.value;
        const zoom = known.current.get("zoom")?.value ?? 100;
        const value = stepped(control, from, direction, zoom);
        const latest = old?.latest ?? new Latest((next) => act("PUT", `camera/controls/${name}`, { value: next }));
        targets.set(name, { value, at: now, latest });
        if (value !== from) latest.push(value);
      },
      /** What the arrows did is no longer where the camera is. */
      forget: () => targets.clear(),
    };
  }, [act]);
}

interface HoldProps {
  icon: IconName;
  label: string;
  testId: string;
  disabled: boolean;
  className?: string;
  step: () => void;
}

/** A button that steps once when pressed and goes on while it is held, by finger, mouse or key. */
function Hold({ icon, label: words, testId, disabled, className = "", step }: HoldProps) {
  const [held, setHeld] = useState(false);
  const latest = useRef(step);
  latest.current = step;
  useEffect(() => {
    if (!held) return;
    const timer = setInterval(() => latest.current(), STEP_MS);
    return () => clearInterval(timer);
  }, [held]);
  useEffect(() => {
    if (disabled) setHeld(false);
  }, [disabled]);

  return (
    <button className={`button ${className}`} aria-label={words} title={words} data-testid={testId} disabled={disabled}
      onPointerDown={(event) => {
        if (event.button !== 0) return;
        event.currentTarget.setPointerCapture(event.pointerId);
        step();
        setHeld(true);
      }}
      onPointerUp={() => setHeld(false)}
      onPointerCancel={() => setHeld(false)}
      onLostPointerCapture={() => setHeld(false)}
      onContextMenu={(event) => event.preventDefault()}
      // A click without a pointer is a key or a screen reader; the browser repeats it while Enter is held.
      onClick={(event) => event.detail === 0 && step()}>
      <Icon name={icon} />
    </button>
  );
}
