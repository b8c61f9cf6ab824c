import { describe, expect, it } from "vitest";
import { arc, share } from "./meters";

describe("a bar", () => {
  it("is empty for silence and full at full scale", () => {
    expect([null, -120, -60, -30, 0, 6].map(share)).toEqual([0, 0, 0, 0.5, 1, 1]);
  });
});

describe("a direction", () => {
  it("is to the right at 0 degrees, and ahead, which is up, at 90", () => {
    expect(arc(0, 90, 10)).toBe("M0 0L0.0 10.0A10 10 0 0 0 0.0 -10.0Z");
    expect(arc(90, 45, 10)).toBe("M0 0L7.1 -7.1A10 10 0 0 0 -7.1 -7.1Z");
  });
});
