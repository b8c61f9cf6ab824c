import type { BrowserContext, Request, WebSocketRoute } from "playwright-core";
import type { Control, State, VoiceMeters } from "../src/panel/types";
import { ORIGIN } from "./browser";

const control = (name: string, minimum: number, maximum: number, value: number, more: Partial<Control> = {}): Control => ({
  control: name, minimum, maximum, step: 1, default: 0, value, read_only: false, ...more,
});

/** A device before anybody joined. */
export function freshState(): State {
  return {
    room: { phase: "idle", phase_since_us: 0, muted: true, mute_reason: "not_in_meeting", can_unmute: false, reset_in_s: null },
    channel: "boardroom", user: "boardroom-terminal", display_name: "Boardroom-2", volume: 60, participants: [],
    camera: {
      name: "Virtual camera",
      controls: [
        control("pan", -612000, 612000, 0), control("tilt", -108000, 108000, 0), control("zoom", 100, 1000, 100, { default: 100 }),
        control("focus", 0, 255, 0), control("focus_auto", 0, 1, 1), control("exposure", 1, 2000, 156),
        control("exposure_auto", 0, 1, 0), control("privacy", 0, 1, 0, { read_only: true }),
      ],
      presets: ["Whiteboard", "Whole room"],
    },
    indicators: { status: { rgb: [60, 60, 60], blink_ms: null }, mute: { rgb: [255, 0, 0], blink_ms: null } },
    buttons: ["join", "mute", "volume_up", "volume_down"],
    settings: {
      max_layer: "high", orientation: 0, mirrored: false, preference: "sharpness", audio_only: false, voice_mode: "voice",
      self_view: true, join_muted: false,
    },
    guest_link: "http://192.168.1.20:7880/guest?channel=boardroom&invite=eyJhbGciOiJIUzI1NiJ9.eyJjaCI6ImJvYXJkcm9vbSJ9.5vA8",
    errors: [], update: null, can_reset: true, virtual: true, selftest: null, recording: null,
    devices: {
      camera: { name: "Virtual camera", ok: true }, microphones: { name: "Virtual array", ok: true },
      speaker: { name: "Virtual speaker", ok: false }, encoder: { name: "x264enc", ok: true },
      display: { name: "Virtual screen", ok: true }, content_display: null,
    },
    board: {
      indicators: { status: { rgb: [60, 60, 60], blink_ms: null }, mute: { rgb: [255, 0, 0], blink_ms: null } },
      buttons: { join: false, mute: false, volume_up: false, volume_down: false }, mute_switch_cut: false,
      faults: { camera_unplugged: false, encoder_error: false, frames_late: false, microphone_silent: false, speaker_gone: false },
    },
    version: "0.1.0", now_us: 5_000_000_000,
  };
}

/** The voice of a room in which somebody speaks from the right. */
export function speaking(): VoiceMeters {
  return {
    mode: "voice", muted: false, speech: true, sent_dbov: -23,
    microphones: [-31, -28, -100, -34].map((level_dbfs, i) => ({ level_dbfs, ok: i !== 2 })),
    gain_db: 9.5, echo_removed_db: 34.2, echo_delay_ms: 84, clock_drift_ppm: -37.4, direction_deg: 52, direction_confidence: 0.8,
  };
}

/** What the page asked for. */
export interface Asked {
  method: string;
  path: string;
  body: unknown;
}

/** A device that the test plays: it notes what it is asked, and shows the state that the test gives it. */
export class Device {
  readonly asked: Asked[] = [];
  state = freshState();
  /** What the next requests are answered with, by `METHOD path`; anything else gets 200. */
  answers: Record<string, { status: number; body: unknown }> = {};
  private sockets = new Set<WebSocketRoute>();
  private listeners = new Set<WebSocketRoute>();
  /** Pages that follow the meters. */
  get listening(): number {
    return this.listeners.size;
  }
  meters = speaking();
  /** Whether the page may use the device. */
  session = { needs_password: false, password_set: false, welcome: true };
  /** Refuses new connections. */
  down = false;

  async playTo(context: BrowserContext): Promise<void> {
    await context.routeWebSocket(`${ORIGIN.replace("http", "ws")}/api/v1/events`, (socket) => {
      if (this.down || !this.session.welcome) {
        void socket.close();
        return;
      }
      this.sockets.add(socket);
      socket.onClose(() => this.sockets.delete(socket));
      socket.send(JSON.stringify(this.state));
    });
    await context.routeWebSocket(`${ORIGIN.replace("http", "ws")}/api/v1/voice/live`, (socket) => {
      this.listeners.add(socket);
      socket.onClose(() => this.listeners.delete(socket));
      socket.send(JSON.stringify(this.meters));
    });
    await context.route(`${ORIGIN}/api/v1/**`, async (route) => {
      const request = route.request();
      const path = new URL(request.url()).pathname.replace("/api/v1/", "");
      if (path === "screen.mjpeg") {
        await route.fulfill({ body: SCREEN, contentType: "image/svg+xml" });
        return;
      }
      if (this.down) {
        await route.abort();
        return;
      }
      const asked = { method: request.method(), path, body: json(request) };
      if (path === "session" && asked.method === "GET") {
        await route.fulfill({ json: this.session });
        return;
      }
      this.asked.push(asked);
      const answer = this.answers[`${asked.method} ${path}`] ?? { status: 200, body: {} };
      await route.fulfill({ status: answer.status, json: answer.body });
    });
  }

  /** Changes the state and tells every page. */
  show(change: (state: State) => void): void {
    change(this.state);
    this.state.now_us += 50_000;
    for (const socket of this.sockets) socket.send(JSON.stringify(this.state));
  }

  /** Tells every page that follows the meters. */
  measure(change: Partial<VoiceMeters>): void {
    this.meters = { ...this.meters, ...change };
    for (const socket of this.listeners) socket.send(JSON.stringify(this.meters));
  }

  /** Cuts every connection. */
  async cut(): Promise<void> {
    this.down = true;
    await Promise.all([...this.sockets].map((socket) => socket.close()));
    this.sockets.clear();
  }
}

/** What was sent, when it is JSON. */
function json(request: Request): unknown {
  return request.headers()["content-type"] === "application/octet-stream" ? null : (request.postDataJSON() as unknown);
}

const SCREEN = `<svg xmlns="http://www.w3.org/2000/svg" width="1280" height="720"><rect width="1280" height="720" fill="#234"/>
<rect x="20" y="20" width="940" height="680" rx="12" fill="#4a6"/><rect x="980" y="20" width="280" height="160" rx="12" fill="#a64"/>
<rect x="980" y="200" width="280" height="160" rx="12" fill="#46a"/></svg>`;
