import { describe, expect, it } from "vitest";
import { retryDelay } from "./backoff";
import { guestName, isName, shown, toName } from "./names";
import { shortcut, type Keystroke } from "./shortcuts";

describe("names", () => {
  it("become what the service takes, and stay readable", () => {
    expect(toName("Zoë Müller")).toBe("Zoe-Muller");
    expect(toName("  Øystein Straße ")).toBe("Oystein-Strasse");
    expect(toName("O'Hara, Jr.")).toBe("OHara-Jr");
    expect(toName("Łukasz_2")).toBe("Lukasz_2");
  });

  it("are empty when nothing can be kept, never wrong", () => {
    for (const text of ["", "   ", "山田", "😀", "---"]) expect(toName(text)).toBe("");
    for (const text of ["x".repeat(200), "a\u0000b", "<script>", "é".repeat(70), "a" + "/".repeat(99) + "b"]) {
      expect(isName(toName(text))).toBe(true);
    }
  });

  it("are shown with spaces", () => {
    expect(shown("Zoe-Muller")).toBe("Zoe Muller");
    expect(shown("--")).toBe("--");
  });

  it("exist for guests who give none", () => {
    for (const random of [0, 0.5, 0.999999]) expect(isName(guestName(random))).toBe(true);
  });
});

describe("the wait before the next try", () => {
  it("is short at first, then at most the longest, and never the same for all", () => {
    expect(retryDelay(0, 0.5)).toBeLessThanOrEqual(250);
    for (const tries of [0, 3, 10, 1000]) {
      for (const random of [0, 0.5, 1]) {
        expect(retryDelay(tries, random)).toBeGreaterThan(0);
        expect(retryDelay(tries, random)).toBeLessThanOrEqual(2000);
      }
    }
    expect(retryDelay(5, 0)).not.toBe(retryDelay(5, 1));
  });
});

describe("a shortcut", () => {
  const stroke = (key: string, more: Partial<Keystroke> = {}): Keystroke => ({
    key, repeat: false, ctrlKey: false, altKey: false, metaKey: false, target: { tagName: "BODY" }, ...more,
  });
  const keys = { m: "mute", " ": "mute", j: "join" };

  it("works with and without shift", () => {
    expect(shortcut(stroke("m"), keys)).toBe("mute");
    expect(shortcut(stroke("M"), keys)).toBe("mute");
    expect(shortcut(stroke("x"), keys)).toBeUndefined();
  });

  it("stays away while somebody types", () => {
    expect(shortcut(stroke("m", { target: { tagName: "INPUT", type: "text" } }), keys)).toBeUndefined();
    expect(shortcut(stroke("m", { target: { tagName: "DIV", isContentEditable: true } }), keys)).toBeUndefined();
    expect(shortcut(stroke("m", { target: { tagName: "INPUT", type: "range" } }), keys)).toBe("mute");
  });

  it("leaves the space bar to the button that has the focus", () => {
    expect(shortcut(stroke(" ", { target: { tagName: "BUTTON" } }), keys)).toBeUndefined();
    expect(shortcut(stroke(" "), keys)).toBe("mute");
  });

  it("acts once for a key held down, and not for the browser's own keys", () => {
    expect(shortcut(stroke("m", { repeat: true }), keys)).toBeUndefined();
    expect(shortcut(stroke("j", { ctrlKey: true }), keys)).toBeUndefined();
    expect(shortcut(stroke("constructor"), keys)).toBeUndefined();
  });
});
