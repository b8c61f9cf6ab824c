import { describe, expect, it } from "vitest";
import { Latest } from "./latest";
import { Live, type Ground, type Standing } from "./live";
import { allowed, spoken, stepped } from "./ptz";
import type { Control, State } from "./types";
import { company, hearing, lasted, measured, PHASES } from "./words";

const control = (name: string, more: Partial<Control> = {}): Control => ({
  control: name, minimum: -612000, maximum: 612000, step: 1, default: 0, value: 0, read_only: false, ...more,
});

describe("the arrows of the camera", () => {
  it("turn less the more the picture is magnified", () => {
    expect(stepped(control("pan"), 0, 1, 100)).toBe(10800);
    expect(stepped(control("pan"), 0, -1, 400)).toBe(-2700);
  });

  it("stop at the ends", () => {
    expect(stepped(control("pan"), 611000, 1, 100)).toBe(612000);
    expect(stepped(control("zoom", { minimum: 100, maximum: 1000 }), 1000, 1, 1000)).toBe(1000);
    expect(stepped(control("zoom", { minimum: 100, maximum: 1000 }), 101, -1, 101)).toBe(100);
  });

  it("move by one step of the camera at least", () => {
    const coarse = control("tilt", { minimum: -108000, maximum: 108000, step: 36000 });
    expect(stepped(coarse, 0, 1, 1000)).toBe(36000);
    expect(stepped(control("zoom", { minimum: 100, maximum: 1000 }), 100, 1, 100)).toBeGreaterThan(100);
  });

  it("ask only for values that the camera has", () => {
    const odd = control("pan", { minimum: -10, maximum: 11, step: 4 });
    for (let value = -30; value < 30; value++) {
      const got = allowed(odd, value);
      expect(got).toBeGreaterThanOrEqual(-10);
      expect(got).toBeLessThanOrEqual(11);
      expect((got + 10) % 4).toBe(0);
    }
  });

  it("are told in words", () => {
    expect(spoken("pan", -36000)).toBe("10° left");
    expect(spoken("tilt", 0)).toBe("level");
    expect(spoken("zoom", 250)).toBe("2.5×");
    expect(spoken("white_balance", 4600)).toBe("4600 K");
  });
});

describe("a dragged slider", () => {
  it("sends the first and the last value, and never two at once", async () => {
    const sent: number[] = [];
    const arrive: (() => void)[] = [];
    const latest = new Latest<number>((value) => {
      sent.push(value);
      return new Promise<void>((done) => arrive.push(done));
    });
    for (let value = 1; value <= 50; value++) latest.push(value);
    expect(sent).toEqual([1]);
    arrive.shift()!();
    await Promise.resolve().then(() => undefined);
    expect(sent).toEqual([1, 50]);
    arrive.shift()!();
    await Promise.resolve().then(() => undefined);
    latest.push(51);
    expect(sent).toEqual([1, 50, 51]);
  });
});

/** A browser in which nothing happens by itself. */
class Stage implements Ground {
  sockets: { state: (state: State) => void; opened: () => void; close: () => void; gone: boolean }[] = [];
  answer: Awaited<ReturnType<Ground["ask"]>> = "in";
  timers: { ms: number; run: () => void }[] = [];
  standings: Standing[] = [];
  states: State[] = [];
  live = new Live(this, (state) => this.states.push(state), (standing) => this.standings.push(standing));

  open: Ground["open"] = (state, opened, close) => {
    const socket = { state, opened, close, gone: false };
    this.sockets.push(socket);
    return { close: () => (socket.gone = true) };
  };
  ask = async () => this.answer;
  random = () => 0.5;
  after: Ground["after"] = (ms, run) => {
    const timer = { ms, run };
    this.timers.push(timer);
    return () => (this.timers = this.timers.filter((other) => other !== timer));
  };
  last = () => this.sockets[this.sockets.length - 1]!;
  async fire() {
    for (const { run } of this.timers.splice(0)) run();
    await settle();
  }
}

const settle = () => new Promise((done) => setImmediate(done));

describe("the connection to the device", () => {
  it("comes back by itself, again and again, and tells so", async () => {
    const stage = new Stage();
    stage.live.start();
    stage.last().opened();
    for (let outage = 1; outage <= 5; outage++) {
      stage.answer = "unreachable";
      stage.last().close();
      await settle();
      expect(stage.standings.at(-1)).toBe("lost");
      await stage.fire();
      expect(stage.sockets).toHaveLength(outage + 1);
      stage.last().opened();
      expect(stage.standings.at(-1)).toBe("live");
    }
  });

  it("asks for the password where the device wants it, and stops trying meanwhile", async () => {
    for (const [answer, standing] of [["locked", "locked"], ["new", "new"]] as const) {
      const stage = new Stage();
      stage.answer = answer;
      stage.live.start();
      stage.last().close();
      await settle();
      expect(stage.standings).toEqual([standing]);
      expect(stage.timers).toHaveLength(0);
      stage.live.start();
      stage.last().opened();
      expect(stage.standings.at(-1)).toBe("live");
    }
  });

  it("notices a device that went silent without closing", async () => {
    const stage = new Stage();
    stage.live.start();
    stage.last().opened();
    await stage.fire();
    expect(stage.standings).toEqual(["live"]);
    stage.answer = "unreachable";
    await stage.fire();
    expect(stage.standings.at(-1)).toBe("lost");
    expect(stage.last().gone).toBe(true);
    await stage.fire();
    expect(stage.sockets).toHaveLength(2);
  });

  it("ignores what an old connection still says", async () => {
    const stage = new Stage();
    stage.live.start();
    const old = stage.last();
    stage.live.start();
    old.opened();
    old.state({} as State);
    old.close();
    await settle();
    expect(stage.states).toEqual([]);
    expect(stage.standings).toEqual([]);
    stage.live.stop();
    stage.last().close();
    await settle();
    expect(stage.standings).toEqual([]);
  });
});

describe("plain words", () => {
  const room = { phase: "in_channel" as const, phase_since_us: 0, muted: true, mute_reason: null, can_unmute: true, reset_in_s: null };

  it("never call a muted room heard", () => {
    const reasons = ["switch", "switch_fault", "microphones_fault", "light_fault", "button", "page", "far_end", "joined_muted"] as const;
    for (const mute_reason of [null, ...reasons]) {
      expect(hearing({ ...room, mute_reason }).title).toBe("Muted");
      expect(hearing({ ...room, mute_reason }).detail).not.toBe("");
    }
    expect(hearing({ ...room, mute_reason: "not_in_meeting" }).title).toBe("Microphones closed");
    expect(hearing({ ...room, muted: false }).title).toBe("This room is heard");
  });

  it("stay sound when the device is newer than the page", () => {
    expect(hearing({ ...room, mute_reason: "moon" as never })).toEqual({ title: "Muted", detail: "" });
    expect(PHASES["idle"]).toBe("Ready");
  });

  it("count people and minutes", () => {
    expect(company(0)).toContain("Nobody");
    expect(company(1)).toBe("1 other is here");
    expect(lasted(59e6)).toBe("under a minute");
    expect(lasted(61e6)).toBe("1 min");
    expect(lasted(3_900e6)).toBe("1 h 5 min");
  });
});

describe("a self-test", () => {
  it("tells what it measured with units", () => {
    expect(measured({ name: "rate", value: 29.97, unit: "Hz" })).toBe("rate 29.97 Hz");
    expect(measured({ name: "pressed", value: 4, unit: "" })).toBe("pressed 4");
  });
});
