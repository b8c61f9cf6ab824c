// Takes the README's pictures: screenshots.mjs PANEL_URL GUEST_LINK FOLDER.
import { chromium } from "playwright-core";
import { join } from "node:path";

const [panelUrl, guestLink, folder] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  headless: true,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--allow-loopback-in-peer-connection",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
  ],
});
const context = await browser.newContext({
  viewport: { width: 1280, height: 800 },
  permissions: ["camera", "microphone"],
});
const panel = await context.newPage();
await panel.goto(panelUrl);
await panel.getByTestId("join").click();
const guest = await context.newPage();
await guest.goto(`${guestLink}&name=Ada&autojoin=1&debug=1`);
await guest.waitForFunction(() => [...document.querySelectorAll("video")].filter((one) => one.videoWidth).length >= 2, null, {
  timeout: 30000,
});
await panel.bringToFront();
await panel.getByText("Ada").first().waitFor({ timeout: 15000 });
await panel.waitForTimeout(3000); // the pictures settle from their first, coarse key frames
await panel.screenshot({ path: join(folder, "panel.png") });
await guest.bringToFront();
await guest.waitForTimeout(1000);
await guest.screenshot({ path: join(folder, "guest.png") });
await browser.close();
