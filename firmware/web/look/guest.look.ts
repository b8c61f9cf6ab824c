import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LAPTOP, launch, ORIGIN, PHONE, servePages, shoot } from "./browser";

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

/** Opens the guest's page; the service answers invitations as `answer` says. */
async function open(size: typeof PHONE, query: string, answer: { status: number; body: unknown }): Promise<{ page: Page; asked: unknown[] }> {
  const context = await browser.newContext({ viewport: size, permissions: ["camera", "microphone"] });
  await servePages(context, "guest", "/guest");
  const asked: unknown[] = [];
  await context.route(`${ORIGIN}/api/v1/guests`, async (route) => {
    asked.push(route.request().postDataJSON());
    await route.fulfill({ status: answer.status, json: answer.body });
  });
  const page = await context.newPage();
  await page.goto(`${ORIGIN}/guest?${query}`);
  return { page, asked };
}

const EXPIRED = { status: 401, body: { error: "the invitation has expired", hint: "" } };

describe("the guest's page", () => {
  for (const [name, size] of [["phone", PHONE], ["laptop", LAPTOP]] as const) {
    it(`shows the guest to themselves before they join: ${name}`, async () => {
      const { page } = await open(size, "channel=boardroom&invite=i", EXPIRED);
      await page.waitForFunction(() => (document.querySelector("video")?.videoWidth ?? 0) > 0);
      await page.getByTestId("choose-videoinput").waitFor();
      await shoot(page, `guest-lobby-${name}`);
      expect(await page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth)).toBe(false);
      await page.context().close();
    });
  }

  it("sends a name that the service takes, and says when the link has expired", async () => {
    const { page, asked } = await open(LAPTOP, "channel=boardroom&invite=secret", EXPIRED);
    await page.getByTestId("name").fill("Zoë Müller");
    await page.getByText("Zoe-Muller").waitFor();
    await page.getByTestId("join").click();
    await page.getByTestId("trouble").waitFor();
    expect(asked).toEqual([{ invite: "secret", name: "Zoe-Muller" }]);
    expect(await page.getByTestId("trouble").textContent()).toContain("This link has expired");
    await shoot(page, "guest-expired");
    await page.context().close();
  });

  it("keeps trying while the service is away, and can be left", async () => {
    const { page, asked } = await open(PHONE, "channel=boardroom&invite=i&autojoin=1&name=Kiosk", { status: 503, body: {} });
    await page.getByTestId("connecting").waitFor();
    await expect.poll(() => asked.length, { timeout: 10_000 }).toBeGreaterThan(2);
    await shoot(page, "guest-waiting");
    await page.getByTestId("leave").click();
    await page.getByTestId("out").waitFor();
    await page.context().close();
  });

  it("names the trouble of a link that was cut short", async () => {
    const { page } = await open(LAPTOP, "channel=boardroom", EXPIRED);
    await page.getByTestId("trouble").waitFor();
    expect(await page.getByTestId("join").isDisabled()).toBe(true);
    await page.context().close();
  });
});
