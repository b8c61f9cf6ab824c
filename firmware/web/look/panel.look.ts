import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { LAPTOP, launch, ORIGIN, PHONE, servePages, shoot } from "./browser";
import { Device } from "./device";

let browser: Browser;
let page: Page;
let device: Device;
const troubles: string[] = [];

beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

async function open(size = LAPTOP, colorScheme: "light" | "dark" = "light") {
  const context = await browser.newContext({ viewport: size, colorScheme, hasTouch: size === PHONE });
  await servePages(context, "panel", "/");
  await device.playTo(context);
  page = await context.newPage();
  page.on("pageerror", (error) => troubles.push(error.message));
  await page.goto(`${ORIGIN}/`);
}

beforeEach(() => {
  device = new Device();
});
afterEach(async () => {
  await page.context().close();
  expect(troubles.splice(0)).toEqual([]);
});

const by = (id: string) => page.getByTestId(id);

function meet() {
  device.show((state) => {
    state.room = { phase: "in_channel", phase_since_us: state.now_us - 12 * 60e6, muted: false, mute_reason: null, can_unmute: true, reset_in_s: null };
    state.indicators.status = { rgb: [0, 255, 0], blink_ms: null };
    state.indicators.mute = { rgb: [0, 0, 0], blink_ms: null };
    state.board!.indicators = { ...state.indicators };
    const person = { speaking: false, muted: false, camera: true, sharing: false, quality: "excellent" as const };
    state.participants = [
      { ...person, user: "guest-1", name: "Zoe-Muller", speaking: true },
      { ...person, user: "guest-2", name: "Ada-Lovelace", muted: true, camera: false, quality: "poor" },
      { ...person, user: "room-7", name: "Room-7", sharing: true },
    ];
  });
}

function mute(reason: "page" | "switch") {
  device.show((state) => {
    state.room = { ...state.room, muted: true, mute_reason: reason, can_unmute: reason !== "switch" };
    state.indicators.mute = { rgb: [255, 0, 0], blink_ms: null };
    state.board!.indicators.mute = state.indicators.mute;
  });
}

const overflows = () => page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);

describe("the panel", () => {
  for (const [name, size, scheme] of [
    ["phone-light", PHONE, "light"], ["phone-dark", PHONE, "dark"], ["laptop-light", LAPTOP, "light"], ["laptop-dark", LAPTOP, "dark"],
  ] as const) {
    it(`fits a screen: ${name}`, async () => {
      await open(size, scheme);
      await by("join").waitFor();
      await shoot(page, `panel-idle-${name}`);
      expect(await overflows()).toBe(false);
      meet();
      await by("leave").waitFor();
      await shoot(page, `panel-meeting-${name}`);
      mute("switch");
      device.show((state) => {
        state.errors = [{
          code: "camera_fault", severity: "error", message: "The camera does not work.",
          hint: "Check its cable. The meeting goes on without a picture.", since_us: state.now_us - 130e6,
        }];
        state.board!.mute_switch_cut = true;
        state.board!.faults["camera_unplugged"] = true;
      });
      await by("board-details").locator("summary").click();
      await by("camera").locator("summary").click();
      await by("problem-camera_fault").waitFor();
      await shoot(page, `panel-trouble-${name}`);
      expect(await overflows()).toBe(false);
    });
  }

  for (const scheme of ["light", "dark"] as const) {
    it(`draws what the microphones hear: ${scheme}`, async () => {
      await open(LAPTOP, scheme);
      meet();
      device.show((state) => {
        state.recording = { phase: "recording", seconds: 4.2, wanted_s: 10, problem: null };
      });
      const direction = by("direction");
      await expect.poll(() => direction.getAttribute("data-degrees")).toBe("52");
      expect(await by("voice").getAttribute("data-speech")).toBe("true");
      expect(await by("microphone-3").getAttribute("data-ok")).toBe("false");
      expect(await by("microphone-3").textContent()).toContain("gives nothing");
      const loudness = page.getByRole("meter", { name: "Microphone 1" });
      expect(await loudness.getAttribute("aria-valuenow")).toBe("-31");
      await by("voice").screenshot({ path: `look/shots/panel-voice-${scheme}.png` });
      device.measure({ microphones: [{ level_dbfs: -9, ok: true }], direction_deg: 120 });
      await expect.poll(() => loudness.getAttribute("aria-valuenow")).toBe("-9");
      await expect.poll(() => direction.getAttribute("data-degrees")).toBe("120");
      // Of a muted room nothing is drawn.
      device.measure({ muted: true, speech: null, microphones: [{ level_dbfs: null, ok: true }] });
      await by("voice-muted").waitFor();
      expect(await direction.getAttribute("data-degrees")).toBe(null);
      expect(await loudness.getAttribute("aria-valuetext")).toBe("nothing");
    });
  }

  it("asks for a mode of the voice, and to forget a recording", async () => {
    await open();
    await by("voice-mode-music").click();
    await expect.poll(() => device.asked).toEqual([{ method: "PATCH", path: "settings", body: { voice_mode: "music" } }]);
    // It shows what the device says, not what was asked.
    expect(await by("voice-mode-voice").getAttribute("data-chosen")).toBe("true");
    device.show((state) => {
      state.settings.voice_mode = "music";
      state.recording = { phase: "done", seconds: 10, wanted_s: 10, problem: null };
    });
    await expect.poll(() => by("voice-mode-music").getAttribute("data-chosen")).toBe("true");
    device.asked.length = 0;
    await by("recording-forget").click();
    await expect.poll(() => device.asked).toEqual([{ method: "DELETE", path: "voice/recording", body: null }]);
  });

  it("measures only what somebody looks at", async () => {
    await open(PHONE);
    await by("voice").scrollIntoViewIfNeeded();
    await expect.poll(() => device.listening).toBe(1);
    await page.evaluate(() => window.scrollTo(0, 0));
    await expect.poll(() => device.listening).toBe(0);
  });

  it("joins and leaves by button and key, and mutes by button and key", async () => {
    await open();
    await by("join").click();
    await expect.poll(() => device.asked).toContainEqual({ method: "POST", path: "join", body: null });
    meet();
    await by("leave").waitFor();
    await page.locator("body").click({ position: { x: 3, y: 3 } });
    for (const key of ["m", "Space"]) {
      device.asked.length = 0;
      await page.keyboard.press(key);
      await expect.poll(() => device.asked).toEqual([{ method: "PUT", path: "mute", body: { muted: true } }]);
    }
    mute("page");
    await expect.poll(() => by("hearing").getAttribute("data-muted")).toBe("true");
    device.asked.length = 0;
    await by("mute").click();
    await expect.poll(() => device.asked).toEqual([{ method: "PUT", path: "mute", body: { muted: false } }]);
    device.asked.length = 0;
    await page.locator("body").click({ position: { x: 3, y: 3 } });
    await page.keyboard.press("j");
    await expect.poll(() => device.asked).toEqual([{ method: "POST", path: "leave", body: null }]);
  });

  it("does not offer to unmute what the hardware switch holds muted", async () => {
    await open();
    meet();
    mute("switch");
    await expect.poll(() => by("mute").isDisabled()).toBe(true);
    await page.keyboard.press("m");
    expect(await by("hearing").textContent()).toContain("Flip it back");
    expect(device.asked).toEqual([]);
  });

  it("shows the board's lights as they are and presses its buttons", async () => {
    await open();
    await by("light-mute").waitFor();
    expect(await by("light-mute").getAttribute("data-rgb")).toBe("255,0,0");
    device.show((state) => {
      state.board!.indicators.status = { rgb: [255, 160, 0], blink_ms: 250 };
    });
    await expect.poll(() => by("light-status").getAttribute("data-blink")).toBe("250");
    expect(await by("light-status").getAttribute("aria-label")).toBe("Status light: amber, blinking");
    await by("button-mute").click();
    await expect.poll(() => device.asked).toEqual([
      { method: "POST", path: "board/buttons/mute", body: { pressed: true } },
      { method: "POST", path: "board/buttons/mute", body: { pressed: false } },
    ]);
    device.asked.length = 0;
    await by("button-join").press("Enter");
    await expect.poll(() => device.asked).toEqual([{ method: "POST", path: "board/buttons/join", body: {} }]);
  });

  it("turns the camera while an arrow is held, and no longer", async () => {
    await open();
    await by("ptz-right").scrollIntoViewIfNeeded();
    const arrow = (await by("ptz-right").boundingBox())!;
    await page.mouse.move(arrow.x + 10, arrow.y + 10);
    await page.mouse.down();
    await expect.poll(() => device.asked.length).toBeGreaterThan(3);
    await page.mouse.up();
    const values = device.asked.map((asked) => (asked.body as { value: number }).value);
    expect(device.asked[0]!.path).toBe("camera/controls/pan");
    expect(values.slice(0, 3)).toEqual([10800, 21600, 32400]);
    const count = device.asked.length;
    await page.waitForTimeout(500);
    expect(device.asked.length).toBeLessThanOrEqual(count + 1);
  });

  it("stores, recalls and forgets presets", async () => {
    await open();
    await by("preset-name").fill("Door & window");
    await by("preset-store").click();
    await by("preset-Whiteboard").click();
    await page.getByText("Edit", { exact: true }).click();
    await by("forget-Whole room").click();
    await expect.poll(() => device.asked.map(({ method, path }) => `${method} ${path}`)).toEqual([
      "PUT camera/presets/Door%20%26%20window", "POST camera/presets/Whiteboard/recall", "DELETE camera/presets/Whole%20room",
    ]);
  });

  it("says when the device is lost, and comes back", async () => {
    await open();
    await by("join").waitFor();
    await device.cut();
    await by("offline").waitFor();
    await shoot(page, "panel-offline", false);
    device.down = false;
    await by("offline").waitFor({ state: "detached" });
    meet();
    await by("leave").waitFor();
  });

  it("asks twice before it resets the device, and shows the count-down of its buttons", async () => {
    await open(PHONE);
    await by("factory-reset-open").click();
    await by("factory-reset-ask").click();
    await by("factory-reset-cancel").click();
    await by("factory-reset-ask").click();
    expect(device.asked).toEqual([]);
    await by("factory-reset-question").scrollIntoViewIfNeeded();
    await shoot(page, "panel-factory-reset", false);
    expect(await overflows()).toBe(false);
    await by("factory-reset-confirm").click();
    await expect.poll(() => device.asked).toEqual([{ method: "POST", path: "factory_reset", body: { confirm: true } }]);
    device.show((state) => {
      state.room.reset_in_s = 5;
      state.errors = [{
        code: "factory_reset_counts_down", severity: "warning", since_us: state.now_us,
        message: "The terminal forgets everything and is reset to factory in 5 s.", hint: "Let the buttons go to keep everything as it is.",
      }];
    });
    await by("problem-factory_reset_counts_down").waitFor();
    expect(await by("factory-reset-ask").isDisabled()).toBe(true);
    device.show((state) => {
      state.can_reset = false;
    });
    await by("factory-reset").waitFor({ state: "detached" });
  });

  it("shows how an update goes, asks for a yes and takes a file", async () => {
    await open(PHONE);
    await by("join").waitFor();
    expect(await by("updates").count()).toBe(0);
    const update = (change: Partial<NonNullable<typeof device.state.update>>) =>
      device.show((state) => {
        state.update = {
          phase: "idle", running: "1.0.0", version: null, percent: null, asks: false, reason: null, last: null, ...change,
        };
      });
    update({});
    await by("update-check").click();
    await expect.poll(() => device.asked).toEqual([{ method: "POST", path: "updates/check", body: null }]);
    update({ phase: "waiting", version: "1.1.0", asks: true });
    await by("update-asks").scrollIntoViewIfNeeded();
    await shoot(page, "panel-update-asks", false);
    expect(await overflows()).toBe(false);
    await by("update-yes").click();
    await expect.poll(() => device.asked.at(-1)).toEqual({ method: "PUT", path: "updates/confirm", body: { yes: true } });
    update({ phase: "waiting", version: "1.1.0", reason: "waits for the end of the meeting" });
    await expect.poll(() => by("update-reason").textContent()).toBe("It waits for the end of the meeting.");
    update({ phase: "installing", version: "1.1.0", percent: 42 });
    await expect.poll(() => by("update-percent").textContent()).toBe("42 %");
    expect(await by("update-check").isDisabled()).toBe(true);
    await by("updates").scrollIntoViewIfNeeded();
    await shoot(page, "panel-update-installing", false);
    update({ running: "1.0.0", last: { ok: false, version: "1.1.0", text: "version 1.1.0 was given up: the self-test of camera failed" } });
    await expect.poll(() => by("update-last").textContent()).toContain("the self-test of camera failed");
    await by("updates").scrollIntoViewIfNeeded();
    await shoot(page, "panel-update-failed", false);
    device.answers["PUT updates/bundle"] = {
      status: 507, body: { code: "no_room", message: "The bundle cannot be kept.", hint: "Free some space, or bring it on a USB stick." },
    };
    await by("update-file").setInputFiles({ name: "new.raucb", mimeType: "application/octet-stream", buffer: Buffer.from("bundle") });
    await expect.poll(() => by("update-problem").textContent()).toContain("USB stick");
    await expect.poll(() => device.asked.at(-1)?.path).toBe("updates/bundle");
  });

  it("shows what the device refused and its hint", async () => {
    await open();
    device.answers["POST join"] = {
      status: 503, body: { code: "not_ready", message: "The terminal is not ready.", hint: "Wait a few seconds and try again." },
    };
    await by("join").click();
    expect(await by("refused").textContent()).toContain("Wait a few seconds");
  });

  it("asks for the password, and for a new one at the first start", async () => {
    device.session = { needs_password: true, password_set: false, welcome: false };
    await open(PHONE, "dark");
    await by("set-password").waitFor();
    await by("password").fill("correct horse");
    await by("password-again").fill("correct hors");
    expect(await by("enter").isDisabled()).toBe(true);
    await by("password-again").fill("correct horse");
    await shoot(page, "panel-set-password", false);
    await by("enter").click();
    await expect.poll(() => device.asked.at(-1)).toEqual({ method: "POST", path: "password", body: { password: "correct horse" } });

    device.session = { needs_password: true, password_set: true, welcome: false };
    device.answers["POST session"] = { status: 401, body: { code: "wrong_password", message: "The password is wrong.", hint: "Try again." } };
    await page.reload();
    await by("login").waitFor();
    await by("password").fill("battery staple");
    await by("enter").click();
    await by("refused").waitFor();
    await shoot(page, "panel-login", false);
    device.answers = {};
    device.session = { needs_password: true, password_set: true, welcome: true };
    await by("enter").click();
    await by("panel").waitFor();
  });

  for (const [name, size, scheme] of [["phone-dark", PHONE, "dark"], ["laptop-light", LAPTOP, "light"]] as const) {
    it(`tests and exchanges devices: ${name}`, async () => {
      device.answers["GET devices"] = {
        status: 200,
        body: {
          camera: [
            { id: "profile", title: "Virtual camera", chosen: true, problem: null },
            { id: "driver = \"v4l2\", serial = \"0042\"", title: "Wide PTZ", chosen: false, problem: null },
          ],
          microphones: [{ id: "profile", title: "Virtual array", chosen: true, problem: null }], speaker: [],
        },
      };
      await open(size, scheme);
      await by("devices-open").click();
      await by("choose-camera").selectOption("Wide PTZ");
      await expect.poll(() => device.asked.find((one) => one.path === "devices/camera")?.body)
        .toEqual({ id: "driver = \"v4l2\", serial = \"0042\"" });
      await by("test-camera").click();
      await expect.poll(() => device.asked.find((one) => one.path === "selftest")?.body).toEqual({ parts: ["camera"], person: true });
      device.show((state) => {
        state.selftest = {
          running: true, part: "light mute", please: null, question: "Is the light mute red (or lit, if it has one colour)?",
          remaining: 3, checks: [
            { name: "camera", outcome: "passed", figures: [{ name: "rate", value: 29.97, unit: "Hz" }, { name: "lost", value: 0, unit: "frames" }] },
            { name: "clock", outcome: "skipped", reason: "this system does not tell whether it is set; its date can be", figures: [] },
            { name: "sound", outcome: "failed", problem: "microphone 3 gives nothing but zeros", remedy: "free its hole from dust; renew the array", figures: [] },
          ],
        };
      });
      await by("selftest-yes").waitFor();
      await by("selftest-checks").scrollIntoViewIfNeeded();
      await shoot(page, `panel-devices-${name}`);
      expect(await overflows()).toBe(false);
      await by("selftest-yes").click();
      await expect.poll(() => device.asked.find((one) => one.path === "selftest/answer")?.body).toEqual({ yes: true });
    });
  }
});
