// Drives Debian's Chromium for the scenarios. One JSON command a line on standard input, for example
// {"do": "open", "page": "guest", "url": "http://..."}; each is answered by one line of JSON on standard output:
// {"ok": ...} or {"error": "..."}. Options are one JSON object as the only argument:
// {"video": "FILE.mjpeg", "audio": "FILE.wav"}: what the fake camera and microphone play; "any_certificate": true takes
// any certificate of HTTPS; "relay_only": true makes pages send and receive media by TURN only.
import { chromium } from "playwright-core";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer } from "node:http";
import { createInterface } from "node:readline";

const options = JSON.parse(process.argv[2] ?? "{}");
const inpage = ["inpage.js", "whip.js"].map((name) => readFileSync(new URL(name, import.meta.url), "utf8")).join("\n");
// The clients of WHIP and WHEP that an author of both wrote.
const clients = ["whip.js", "whep.js"].map((name) => {
  const code = readFileSync(new URL(`node_modules/whip-whep/${name}`, import.meta.url), "utf8");
  return `{ ${code.replace(/export class (\w+)/, "globalThis.$1 = class")} }`;
});
const profile = mkdtempSync(join(tmpdir(), "rostrum-chromium-"));
const args = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--allow-loopback-in-peer-connection",
  "--autoplay-policy=no-user-gesture-required",
  "--use-fake-ui-for-media-stream",
  "--use-fake-device-for-media-stream",
  // A page in the background must play on: two pages share one browser here.
  "--disable-background-timer-throttling",
  "--disable-backgrounding-occluded-windows",
  "--disable-renderer-backgrounding",
];
if (options.video) args.push(`--use-file-for-fake-video-capture=${options.video}`);
if (options.audio) args.push(`--use-file-for-fake-audio-capture=${options.audio}`);
const context = await chromium.launchPersistentContext(profile, {
  executablePath: "/usr/bin/chromium",
  headless: true,
  args,
  viewport: { width: 1280, height: 800 },
  ignoreHTTPSErrors: options.any_certificate === true,
  permissions: ["camera", "microphone", "clipboard-read", "clipboard-write"],
});
const pages = new Map();

// The page of a participant made of livekit-client, and that library as the guest's page has it.
const library = new URL("../../../firmware/web/node_modules/livekit-client/dist/", import.meta.url);
const files = {
  "/room.html": ["text/html", new URL("room.html", import.meta.url)],
  "/room.js": ["text/javascript", new URL("room.js", import.meta.url)],
  "/livekit-client.umd.js": ["text/javascript", new URL("livekit-client.umd.js", library)],
  "/livekit-client.e2ee.worker.js": ["text/javascript", new URL("livekit-client.e2ee.worker.js", library)],
};
const server = createServer((request, response) => {
  const [type, file] = files[request.url] ?? [];
  if (!file) return void response.writeHead(404).end();
  response.writeHead(200, { "content-type": type }).end(readFileSync(file));
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));

// Runs in the page.
function relayOnly() {
  const relay = (configuration) => ({ ...configuration, iceTransportPolicy: "relay" });
  globalThis.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(configuration) {
      super(relay(configuration));
    }
    setConfiguration(configuration) {
      super.setConfiguration(relay(configuration));
    }
  };
}

const commands = {
  async open({ page, url, width, height }) {
    const opened = await context.newPage();
    if (width) await opened.setViewportSize({ width, height });
    opened.on("console", (message) => console.error(`[${page}] ${message.type()}: ${message.text()}`));
    opened.on("pageerror", (error) => console.error(`[${page}] error: ${error}`));
    await opened.addInitScript([inpage, ...clients].join("\n"));
    if (options.relay_only) await opened.addInitScript(relayOnly);
    pages.set(page, opened);
    const response = await opened.goto(url);
    return response?.status() ?? 0;
  },
  // Opens the page of a participant made of livekit-client, and joins; answers with its participant sid.
  async join({ page, url, token, options }) {
    await commands.open({ page, url: `http://127.0.0.1:${server.address().port}/room.html` });
    const parameters = { url, token, options };
    return of(page).evaluate((parameters) => globalThis.rostrumRoom.connect(parameters), parameters);
  },
  // What happened on such a page since the last call.
  events: ({ page }) => of(page).evaluate(() => globalThis.rostrumRoom.take()),
  async close({ page }) {
    await of(page).close();
    pages.delete(page);
  },
  click: ({ page, test_id }) => of(page).getByTestId(test_id).first().click({ timeout: 10000 }),
  fill: ({ page, test_id, text }) => of(page).getByTestId(test_id).first().fill(text, { timeout: 10000 }),
  press: ({ page, key }) => of(page).keyboard.press(key),
  text: ({ page, test_id }) =>
    test_id
      ? of(page).getByTestId(test_id).first().innerText({ timeout: 10000 })
      : of(page).locator("body").innerText({ timeout: 10000 }),
  attribute: ({ page, test_id, name }) => of(page).getByTestId(test_id).first().getAttribute(name, { timeout: 10000 }),
  screenshot: async ({ page, file }) => void (await of(page).screenshot({ path: file })),
  // Calls a function of inpage.js.
  call: ({ page, name, parameters }) =>
    of(page).evaluate(([name, parameters]) => globalThis.rostrumTest[name](parameters), [name, parameters ?? {}]),
};

function of(page) {
  const found = pages.get(page);
  if (!found) throw new Error(`no page named ${page} is open`);
  return found;
}

const answer = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
answer({ ok: "ready" });
for await (const line of createInterface({ input: process.stdin })) {
  try {
    const command = JSON.parse(line);
    if (command.do === "quit") break;
    answer({ ok: (await commands[command.do](command)) ?? null });
  } catch (error) {
    answer({ error: String(error) });
  }
}
await context.close();
rmSync(profile, { recursive: true, force: true });
// Standard input and the server would keep it alive.
process.exit(0);
