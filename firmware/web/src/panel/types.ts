/** The device's state as its interface sends it; `rostrum-panel`'s OpenAPI (`/api/openapi.json`) is the source. */
export interface State {
  room: RoomState;
  channel: string | null;
  user: string | null;
  display_name: string;
  /** Percent. */
  volume: number;
  participants: Participant[];
  camera: CameraState | null;
  indicators: { status: Light; mute: Light };
  buttons: string[];
  settings: Settings;
  guest_link: string | null;
  errors: Problem[];
  devices: Record<string, Device | null>;
  selftest: Selftest | null;
  recording: VoiceRecording | null;
  update: Update | null;
  can_reset: boolean;
  virtual: boolean;
  board: BoardState | null;
  version: string;
  /** When this was sent, in microseconds on the device's clock; compare with what ends in `since_us`. */
  now_us: number;
}

export type Phase = "idle" | "joining" | "in_channel" | "reconnecting" | "leaving";

export type MuteReason =
  | "not_in_meeting" | "switch" | "switch_fault" | "microphones_fault" | "light_fault" | "button" | "page" | "far_end"
  | "joined_muted";

export interface RoomState {
  phase: Phase;
  phase_since_us: number;
  muted: boolean;
  mute_reason: MuteReason | null;
  can_unmute: boolean;
  /** While the buttons are held that reset the device; 0 when it cannot be stopped any more. */
  reset_in_s: number | null;
}

export interface Participant {
  user: string;
  name: string;
  speaking: boolean;
  muted: boolean;
  camera: boolean;
  sharing: boolean;
  quality: "unknown" | "excellent" | "good" | "poor" | "lost";
}

export interface CameraState {
  name: string;
  controls: Control[];
  presets: string[];
}

export interface Control {
  /** `pan` and `tilt` in arc seconds, `zoom` in hundredths, `exposure` in 100 us. */
  control: string;
  minimum: number;
  maximum: number;
  step: number;
  default: number;
  value: number;
  read_only: boolean;
}

export interface Light {
  rgb: [number, number, number];
  /** Half the period of blinking; steady when `null`. */
  blink_ms: number | null;
}

export interface Settings {
  max_layer: "low" | "mid" | "high";
  /** Clockwise, in degrees. */
  orientation: 0 | 90 | 180 | 270;
  mirrored: boolean;
  preference: "sharpness" | "fluency";
  audio_only: boolean;
  voice_mode: VoiceMode;
  self_view: boolean;
  join_muted: boolean;
}

/** What the microphones are for. */
export type VoiceMode = "voice" | "voice-wide" | "music";

/** What the room's voice measures; what is not known, or is of a muted room, is `null`. */
export interface VoiceMeters {
  mode: VoiceMode;
  muted: boolean;
  microphones: { level_dbfs: number | null; ok: boolean }[];
  sent_dbov: number | null;
  speech: boolean | null;
  gain_db: number | null;
  echo_removed_db: number | null;
  echo_delay_ms: number | null;
  clock_drift_ppm: number | null;
  /** Degrees counter-clockwise from the array's right; 90 is straight ahead. */
  direction_deg: number | null;
  /** 0 to 1. */
  direction_confidence: number | null;
}

/** A recording of the voice's inner signals for a fault report. */
export interface VoiceRecording {
  phase: "announcing" | "recording" | "paused" | "done" | "failed";
  seconds: number;
  wanted_s: number;
  problem: string | null;
}

export interface Problem {
  code: string;
  severity: "info" | "warning" | "error";
  message: string;
  hint: string;
  since_us: number;
}

export interface Device {
  name: string;
  ok: boolean;
}

export type DeviceKind = "camera" | "microphones" | "speaker";

export type DeviceChoices = Record<DeviceKind, DeviceChoice[]>;

export interface DeviceChoice {
  id: string;
  title: string;
  chosen: boolean;
  problem: string | null;
}

/** A test of the devices that runs, or the last one. */
export interface Selftest {
  running: boolean;
  part: string | null;
  please: string | null;
  question: string | null;
  checks: Check[];
  remaining: number;
}

export interface Check {
  name: string;
  outcome: "passed" | "failed" | "skipped";
  problem?: string;
  remedy?: string;
  reason?: string;
  figures: Figure[];
}

export interface Figure {
  name: string;
  value: number;
  unit: string;
}

/** How updates of the software stand. */
export interface Update {
  phase: "idle" | "waiting" | "fetching" | "installing" | "restarting" | "checking";
  running: string;
  version: string | null;
  percent: number | null;
  asks: boolean;
  reason: string | null;
  last: { ok: boolean; version: string | null; text: string } | null;
}

/** The inside of the virtual board: what its lights really show, not what they should. */
export interface BoardState {
  indicators: { status: Light; mute: Light };
  /** By role; whether each is held down. */
  buttons: Record<string, boolean>;
  mute_switch_cut: boolean;
  /** By name; whether each is injected. */
  faults: Record<string, boolean>;
}
