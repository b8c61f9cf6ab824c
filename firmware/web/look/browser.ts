import { readFile } from "node:fs/promises";
import { extname, join, resolve } from "node:path";
import { chromium, type Browser, type BrowserContext, type Page } from "playwright-core";

/** A secure origin, as far as the browser is concerned; nothing listens there. */
export const ORIGIN = "http://localhost:9";
const DIST = resolve(import.meta.dirname, "../dist");
const SHOTS = resolve(import.meta.dirname, "shots");
const TYPES: Record<string, string> = {
  ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml",
};

/** As strict as the device's own, and for the guest's page as strict as it can be. */
const POLICY =
  "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; connect-src 'self' ws: wss: http://127.0.0.1:*; " +
  "media-src 'self' blob: mediastream:; worker-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

/** The screens that people hold. */
export const PHONE = { width: 390, height: 844 };
export const LAPTOP = { width: 1280, height: 800 };

/** Debian's Chromium, with a camera and a microphone of its own. */
export function launch(): Promise<Browser> {
  return chromium.launch({
    executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox", "--disable-gpu", "--headless=new", "--use-fake-device-for-media-stream",
      "--use-fake-ui-for-media-stream", "--allow-loopback-in-peer-connection",
      // The pages come from no address here, so the browser would ask before it lets them reach this machine.
      "--disable-features=LocalNetworkAccessChecks", "--autoplay-policy=no-user-gesture-required",
    ],
  });
}

/** Serves `dist/<page>` to every page of `context`, at `base`. */
export async function servePages(context: BrowserContext, page: "panel" | "guest", base: string): Promise<void> {
  await context.route(`${ORIGIN}/**`, async (route) => {
    const path = new URL(route.request().url()).pathname;
    const file = path.startsWith(base) ? path.slice(base.length).replace(/^\//, "") : "index.html";
    const name = file === "" ? "index.html" : file;
    try {
      const body = await readFile(join(DIST, page, name));
      const headers = { "content-type": TYPES[extname(name)] ?? "application/octet-stream", "content-security-policy": POLICY };
      await route.fulfill({ body, headers });
    } catch {
      await route.fulfill({ status: 404, body: "" });
    }
  });
}

/** Keeps a picture of the whole page for a person to look at. */
export async function shoot(page: Page, name: string, fullPage = true): Promise<void> {
  await page.screenshot({ path: join(SHOTS, `${name}.png`), fullPage });
}
