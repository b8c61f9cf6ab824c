import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LAPTOP, launch, ORIGIN, PHONE, servePages, shoot } from "./browser";
import { LIVEKIT_SERVER, Service } from "./service";

let browser: Browser;
let service: Service;
const troubles: string[] = [];

/** Brings a guest into the channel, without a click. */
async function join(user: string, size = LAPTOP, query = ""): Promise<Page> {
  const context = await browser.newContext({ viewport: size, permissions: ["camera", "microphone"] });
  await servePages(context, "guest", "/guest");
  await context.route(`${ORIGIN}/api/v1/guests`, (route) =>
    route.fulfill({ json: { token: service.token("hall", user), url: service.url, channel: "hall", user } }),
  );
  const page = await context.newPage();
  page.on("pageerror", (error) => troubles.push(`${user}: ${error.message}`));
  await page.goto(`${ORIGIN}/guest?channel=hall&invite=i&name=${user}&autojoin=1&debug=1${query}`);
  await page.locator('[data-testid="connection"][data-state="connected"]').waitFor();
  return page;
}

/** Waits until `page` shows moving pictures of `user`. */
async function sees(page: Page, user: string): Promise<void> {
  await page.waitForFunction(
    (who) => {
      const video = document.querySelector<HTMLVideoElement>(`video[data-testid="remote-video"][data-lk-participant="${who}"]`);
      return video !== null && video.videoWidth > 0 && video.getVideoPlaybackQuality().totalVideoFrames > 10;
    },
    user,
    { timeout: 20_000 },
  );
}

describe.skipIf(!LIVEKIT_SERVER)("a meeting on a LiveKit server", { timeout: 90_000 }, () => {
  beforeAll(async () => {
    browser = await launch();
    service = await Service.start();
  });
  afterAll(async () => {
    await browser?.close();
    await service?.kill();
  });

  it("is seen and heard, chats, mutes, is replaced, and survives the service", async () => {
    const ada = await join("Ada-Lovelace");
    await ada.getByTestId("alone").waitFor();
    const bob = await join("Bob", PHONE);
    await sees(ada, "Bob");
    await sees(bob, "Ada-Lovelace");
    await shoot(ada, "meeting-pair-laptop", false);
    await shoot(bob, "meeting-pair-phone", false);

    await bob.getByTestId("chat").click();
    await bob.getByTestId("chat-input").fill("Can you hear me?");
    await bob.getByTestId("chat-send").click();
    await ada.locator(".badge").waitFor();
    await ada.keyboard.press("c");
    await expect.poll(() => ada.getByTestId("chat-message").textContent()).toContain("Can you hear me?");
    await ada.getByTestId("chat-input").fill("Yes. I share my screen in a moment, and this is a longer line to see how it wraps.");
    await ada.keyboard.press("Enter");
    await expect.poll(() => bob.getByTestId("chat-message").count()).toBe(2);
    await shoot(ada, "meeting-chat-laptop", false);
    await shoot(bob, "meeting-chat-phone", false);
    await bob.getByLabel("Close chat").click();
    await ada.getByLabel("Close chat").click();

    // Muted here, seen there; and a microphone that was muted stays so after the service was away.
    await ada.keyboard.press("m");
    const adaAtBob = bob.locator('[data-testid="remote-tile"][data-lk-participant="Ada-Lovelace"]');
    await expect.poll(() => adaAtBob.getAttribute("data-muted")).toBe("true");

    const eve = await join("Eve", LAPTOP, "&audio=0&video=0");
    await ada.locator('[data-testid="remote-tile"][data-lk-participant="Eve"]').waitFor();
    await shoot(ada, "meeting-grid-laptop", false);
    await shoot(bob, "meeting-grid-phone", false);
    await eve.evaluate(async () => {
      const canvas = document.createElement("canvas");
      Object.assign(canvas, { width: 1280, height: 720 });
      const pen = canvas.getContext("2d")!;
      setInterval(() => {
        pen.fillStyle = "#fff";
        pen.fillRect(0, 0, 1280, 720);
        pen.fillStyle = "#123";
        pen.font = "90px sans-serif";
        pen.fillText(`Agenda ${Date.now() % 10000}`, 200, 350);
      }, 50);
      const track = canvas.captureStream(20).getVideoTracks()[0]!;
      await window.rostrum!.room.localParticipant.publishTrack(track, { source: "screen_share" as never });
    });
    await sees(bob, "Eve");
    await sees(ada, "Eve");
    await shoot(ada, "meeting-screen-laptop", false);
    await shoot(bob, "meeting-screen-phone", false);
    await eve.getByTestId("leave").click();
    await eve.getByTestId("out").waitFor();
    await expect.poll(() => ada.getByTestId("remote-tile").count()).toBe(1);

    await service.kill();
    await expect.poll(() => ada.getByTestId("connection").getAttribute("data-state")).not.toBe("connected");
    await service.restart();
    const restarted = Date.now();
    await sees(bob, "Ada-Lovelace");
    await sees(ada, "Bob");
    console.info(`both see each other ${Date.now() - restarted} ms after the service was back`);
    expect(await adaAtBob.getAttribute("data-muted")).toBe("true");
    expect(await ada.getByTestId("mic").getAttribute("data-on")).toBe("false");

    const again = await join("Bob");
    await bob.getByTestId("out").waitFor();
    expect(await bob.getByTestId("trouble").textContent()).toContain("You joined from somewhere else");
    expect(await bob.evaluate(() => window.rostrum?.disconnectReason)).toBe("DUPLICATE_IDENTITY");
    await again.getByTestId("leave").click();
    await ada.getByTestId("alone").waitFor();
    expect(troubles).toEqual([]);
  });
});
