import { retryDelay } from "../shared/backoff";
import type { State } from "./types";

/** How the page stands with the device. */
export type Standing =
  | "connecting"
  | "live"
  /** Lost; it comes back by itself. */
  | "lost"
  /** The device wants its password. */
  | "locked"
  /** The device has no password yet and wants one. */
  | "new";

/** What `Live` needs from the browser; tests bring their own. */
export interface Ground {
  open: (onState: (state: State) => void, onOpen: () => void, onClose: () => void) => { close: () => void };
  /** Whether the device lets us in: asked when the connection fails. */
  ask: () => Promise<"in" | "locked" | "new" | "unreachable">;
  after: (ms: number, run: () => void) => () => void;
  random: () => number;
}

/** How often a quiet connection is checked: a pulled cable closes nothing by itself. */
const CHECK_MS = 5000;

/** Keeps the device's state coming, whatever happens to the connection. */
export class Live {
  private socket: { close: () => void } | undefined;
  private tries = 0;
  private cancel: (() => void) | undefined;
  /** Counts connections; what an old one still says is ignored. */
  private serial = 0;

  constructor(
    private readonly ground: Ground,
    private readonly onState: (state: State) => void,
    private readonly onStanding: (standing: Standing) => void,
  ) {}

  /** Connects, or connects afresh (after a password was given). */
  start(): void {
    this.stop();
    const serial = ++this.serial;
    const mine = (run: () => void) => () => {
      if (serial === this.serial) run();
    };
    this.socket = this.ground.open(
      (state) => mine(() => this.onState(state))(),
      mine(() => {
        this.tries = 0;
        this.onStanding("live");
        this.check(serial);
      }),
      mine(() => void this.closed(serial)),
    );
  }

  /** Ends it; nothing is reported any more. */
  stop(): void {
    this.serial++;
    this.cancel?.();
    this.cancel = undefined;
    this.socket?.close();
    this.socket = undefined;
  }

  private async closed(serial: number): Promise<void> {
    this.cancel?.();
    const answer = await this.ground.ask();
    if (serial !== this.serial) return;
    if (answer === "locked" || answer === "new") {
      this.onStanding(answer);
      return;
    }
    this.onStanding("lost");
    this.cancel = this.ground.after(retryDelay(this.tries++, this.ground.random()), () => this.start());
  }

  private check(serial: number): void {
    this.cancel = this.ground.after(CHECK_MS, () => {
      void this.ground.ask().then((answer) => {
        if (serial !== this.serial) return;
        if (answer === "in") {
          this.check(serial);
        } else {
          this.socket?.close();
          void this.closed(serial);
        }
      });
    });
  }
}
