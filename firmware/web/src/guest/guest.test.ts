import { ConnectionErrorReason, DisconnectReason, MediaDeviceFailure } from "livekit-client";
import { describe, expect, it } from "vitest";
import { firstChoices } from "./choices";
import { gridFor } from "./grid";
import { parseLink } from "./link";
import { next, type Seat, type Session } from "./session";
import { connectTrouble, deviceTrouble, goodbye, refusal, type Trouble } from "./words";

const seat: Seat = { url: "ws://service", token: "t", channel: "hall", user: "guest-1" };
const passing: Trouble = { title: "lost", hint: "", passing: true };
const lasting: Trouble = { title: "expired", hint: "", passing: false };

function after(session: Session, ...events: Parameters<typeof next>[1][]): Session {
  return events.reduce(next, session);
}

describe("the address", () => {
  it("names channel, invitation and what to start with", () => {
    const link = parseLink("?channel=hall&invite=a.b.c&name=Ada&autojoin=1&audio=0&debug=1");
    expect(link).toEqual({
      channel: "hall", invite: "a.b.c", name: "Ada", autojoin: true, audio: false, video: undefined, debug: true,
    });
  });

  it("joins by itself and shows its inside only when told to", () => {
    expect(parseLink("?channel=hall&invite=x")).toMatchObject({ autojoin: false, debug: false });
  });

  it("goes before what the browser remembers, which goes before the default", () => {
    const link = parseLink("?name=Ada&video=0");
    const remembered = { name: "Bob", audio: false, video: true, camera: "cam7" };
    expect(firstChoices(link, remembered, "Guest-1")).toEqual({
      name: "Ada", audio: false, video: false, microphone: "", camera: "cam7",
    });
    expect(firstChoices(parseLink(""), {}, "Guest-1")).toMatchObject({ name: "Guest-1", audio: true, video: true });
  });
});

describe("the session", () => {
  it("goes from the lobby into the meeting and out", () => {
    const inside = after({ at: "lobby" }, { is: "join" }, { is: "seated", seat }, { is: "connected" });
    expect(inside).toEqual({ at: "meeting", seat, tries: 0 });
    expect(after(inside, { is: "leave" })).toEqual({ at: "out" });
  });

  it("comes back with the same seat when the connection is lost", () => {
    const lost = after({ at: "meeting", seat, tries: 0 }, { is: "failed", trouble: passing });
    expect(lost).toEqual({ at: "waiting", seat, tries: 1, trouble: passing });
    expect(after(lost, { is: "waited" })).toEqual({ at: "meeting", seat, tries: 1 });
  });

  it("asks for a fresh seat when the old one is refused on the way back, and then believes a refusal", () => {
    const again = after({ at: "meeting", seat, tries: 1 }, { is: "failed", trouble: lasting, refused: true }, { is: "waited" });
    expect(again).toEqual({ at: "entering", tries: 2 });
    expect(after(again, { is: "failed", trouble: lasting, refused: true })).toEqual({ at: "out", trouble: lasting });
  });

  it("shows a refused invitation in the lobby, where the name can be changed", () => {
    const refused = after({ at: "lobby" }, { is: "join" }, { is: "failed", trouble: lasting, refused: true });
    expect(refused).toEqual({ at: "lobby", trouble: lasting });
  });

  it("does not come back when the guest was replaced or taken out", () => {
    for (const reason of [DisconnectReason.DUPLICATE_IDENTITY, DisconnectReason.PARTICIPANT_REMOVED]) {
      const trouble = goodbye(reason)!;
      expect(after({ at: "meeting", seat, tries: 0 }, { is: "failed", trouble })).toEqual({ at: "out", trouble });
    }
  });

  it("ignores what comes late", () => {
    expect(after({ at: "out" }, { is: "seated", seat }, { is: "connected" }, { is: "waited" })).toEqual({ at: "out" });
    expect(after({ at: "out" }, { is: "failed", trouble: passing })).toEqual({ at: "out" });
  });
});

describe("plain words", () => {
  it("tells an expired link, a full channel and a bad link apart, and none of them passes by waiting", () => {
    expect(refusal(401, "the invitation has expired")).toMatchObject({ title: "This link has expired", passing: false });
    expect(refusal(409, "the channel is full (16 terminals)")).toMatchObject({ title: "The meeting is full", passing: false });
    expect(refusal(401, "the signature is wrong")).toMatchObject({ title: "This link is not valid", passing: false });
  });

  it("gives the service's own advice before ours", () => {
    expect(refusal(410, "expired", "Ask Ada for a link").hint).toBe("Ask Ada for a link");
  });

  it("waits for a service that is down or busy", () => {
    for (const status of [429, 500, 502, 503]) expect(refusal(status).passing).toBe(true);
    expect(connectTrouble({ reason: ConnectionErrorReason.ServerUnreachable }).passing).toBe(true);
  });

  it("explains a connection that was refused at the door", () => {
    const full = connectTrouble({ reason: ConnectionErrorReason.NotAllowed, status: 403, message: "channel is full" });
    expect(full).toMatchObject({ title: "The meeting is full", passing: false });
  });

  it("says nothing when the guest left, and comes back from a shutdown", () => {
    expect(goodbye(DisconnectReason.CLIENT_INITIATED)).toBeUndefined();
    expect(goodbye(DisconnectReason.SERVER_SHUTDOWN)?.passing).toBe(true);
    expect(goodbye(undefined)?.passing).toBe(true);
  });

  it("names the device that fails", () => {
    expect(deviceTrouble("videoinput", MediaDeviceFailure.NotFound).title).toContain("camera");
    expect(deviceTrouble("audioinput", MediaDeviceFailure.DeviceInUse).title).toContain("microphone");
  });
});

describe("the grid", () => {
  it("gives one picture the whole stage and puts two where they are largest", () => {
    expect(gridFor(1, 1280, 720)).toEqual({ columns: 1, rows: 1 });
    expect(gridFor(2, 1600, 500)).toEqual({ columns: 2, rows: 1 });
    expect(gridFor(2, 390, 700)).toEqual({ columns: 1, rows: 2 });
    expect(gridFor(16, 1280, 720)).toEqual({ columns: 4, rows: 4 });
  });

  it("has room for everybody at any size", () => {
    for (let count = 0; count <= 16; count++) {
      for (const [width, height] of [[0, 0], [390, 700], [1280, 640], [3000, 100]] as const) {
        const { columns, rows } = gridFor(count, width, height);
        expect(columns * rows).toBeGreaterThanOrEqual(Math.max(1, count));
      }
    }
  });
});
