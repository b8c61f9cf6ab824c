import { useRef } from "react";
import { Icon } from "../shared/Icon";
import { Notice } from "../shared/Notice";
import type { VoiceMeters, VoiceMode, VoiceRecording } from "./types";
import { useLooked } from "./useLooked";
import { useMeters } from "./useMeters";
import { usePanel } from "./usePanel";
import { arc, share, SHOWN_DB } from "./meters";

const MODES: [VoiceMode, string, string][] = [
  ["voice", "Voice", "Echo and noise are taken away"],
  ["voice-wide", "Wide", "A voice with the room around it"],
  ["music", "Music", "Stereo, untouched: use headphones"],
];

/** The room's voice: what the microphones are for, and what they hear, live while somebody looks. */
export function Voice() {
  const { state, act } = usePanel();
  const card = useRef<HTMLElement>(null);
  const meters = useMeters(useLooked(card));
  const mode = state.settings.voice_mode;
  return (
    <section ref={card} className="card stack voice" data-testid="voice" data-muted={meters?.muted} data-speech={meters?.speech ?? undefined}>
      <h2 className="row"><Icon name="mic" /> The room's voice</h2>
      <fieldset className="modes" aria-label="What the microphones are for">
        {MODES.map(([name, label, hint]) => (
          <label key={name} className="mode" data-testid={`voice-mode-${name}`} data-chosen={mode === name}>
            <input type="radio" className="hidden-text" name="voice-mode" checked={mode === name}
              onChange={() => void act("PATCH", "settings", { voice_mode: name })} />
            <strong>{label}</strong>
            <span className="soft small">{hint}</span>
          </label>
        ))}
      </fieldset>
      {state.recording && <Recording recording={state.recording} />}
      {meters && <Picture meters={meters} />}
      {!meters && <p className="soft small">Waiting for the microphones…</p>}
    </section>
  );
}

function Picture({ meters }: { meters: VoiceMeters }) {
  return (
    <div className="voice-picture">
      <Direction meters={meters} />
      <div className="stack">
        {meters.muted && <p className="soft small" data-testid="voice-muted">The room is muted: nothing is measured.</p>}
        <ul className="bars" aria-label="Loudness at each microphone">
          {meters.microphones.map((microphone, i) => (
            <li key={i} data-testid={`microphone-${i + 1}`} data-ok={microphone.ok} data-level={microphone.level_dbfs ?? undefined}>
              <span className="soft small">{i + 1}</span>
              {microphone.ok ? <Bar db={microphone.level_dbfs} label={`Microphone ${i + 1}`} /> : (
                <span className="row small weak"><Icon name="warning" /> gives nothing</span>
              )}
            </li>
          ))}
          <li data-testid="voice-sent">
            <span className="soft small">sent</span>
            <Bar db={meters.sent_dbov} label="What is sent" />
          </li>
        </ul>
        <dl className="figures small">
          <Figure name="Gain" value={meters.gain_db} unit="dB" digits={0} />
          <Figure name="Echo removed" value={meters.echo_removed_db} unit="dB" digits={0} />
          <Figure name="Speaker to microphone" value={meters.echo_delay_ms} unit="ms" digits={0} />
          <Figure name="Clocks differ by" value={meters.clock_drift_ppm} unit="ppm" digits={0} />
        </dl>
      </div>
    </div>
  );
}

function Bar({ db, label }: { db: number | null; label: string }) {
  return (
    <span className="bar" role="meter" aria-label={label} aria-valuemin={-SHOWN_DB} aria-valuemax={0}
      aria-valuenow={Math.max(-SHOWN_DB, Math.round(db ?? -SHOWN_DB))}
      aria-valuetext={db === null ? "nothing" : `${Math.round(db)} dB`}>
      <span style={{ width: `${share(db) * 100}%` }} data-hot={db !== null && db > -6} />
    </span>
  );
}

function Figure({ name, value, unit, digits }: { name: string; value: number | null; unit: string; digits: number }) {
  if (value === null) return null;
  return (
    <div>
      <dt className="soft">{name}</dt>
      <dd>{value.toFixed(digits)} {unit}</dd>
    </div>
  );
}

/** From above: the array below, the talkers in front of it. */
function Direction({ meters }: { meters: VoiceMeters }) {
  const { direction_deg: direction, direction_confidence: confidence } = meters;
  const known = direction !== null && !meters.muted;
  // The surer, the narrower.
  const half = 8 + (1 - (confidence ?? 0)) * 30;
  const words = known ? `Somebody speaks ${Math.round(direction)} degrees counter-clockwise from the right`
    : meters.speech ? "Somebody speaks" : "Nobody is heard to speak";
  return (
    <svg className="direction" viewBox="-110 -110 220 220" role="img" aria-label={words} data-testid="direction" data-degrees={known ? direction : undefined}>
      {[100, 66, 33].map((radius) => <circle key={radius} r={radius} className="ring" />)}
      {known && <path d={arc(direction, half, 100)} className="wedge" data-speech={meters.speech ?? false} />}
      <circle r={meters.speech ? 16 : 12} className="array" data-speech={meters.speech ?? false} />
    </svg>
  );
}

const PHASES: Record<VoiceRecording["phase"], string> = {
  announcing: "The room and the meeting are told that sound is recorded",
  recording: "The sound of this room is recorded for a fault report",
  paused: "The room is muted: nothing is recorded",
  done: "The sound of this room was recorded for a fault report",
  failed: "Recording for a fault report failed",
};

function Recording({ recording }: { recording: VoiceRecording }) {
  const { act } = usePanel();
  const { phase, seconds, wanted_s: wanted, problem } = recording;
  const over = phase === "done" || phase === "failed";
  return (
    <Notice tone={over ? "info" : "stop"} title={PHASES[phase]} hint={problem ?? `${seconds.toFixed(0)} of ${wanted} seconds`} testId="recording">
      <button className="button quiet" data-testid="recording-forget" onClick={() => void act("DELETE", "voice/recording")}>
        {over ? "Remove it" : "Stop, and keep nothing"}
      </button>
    </Notice>
  );
}
