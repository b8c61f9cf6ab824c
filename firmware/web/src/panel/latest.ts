/**
 * Sends values one at a time; while one is on its way, only the newest of the others is kept. So a slider that is
 * dragged neither floods the device nor leaves it at an old value. `send` reports its own errors and never rejects.
 */
export class Latest<T> {
  private waiting: { value: T } | undefined;
  private sending = false;

  constructor(private readonly send: (value: T) => Promise<unknown>) {}

  /** Sends `value`, now or as soon as the one before has arrived. */
  push(value: T): void {
    this.waiting = { value };
    if (!this.sending) void this.drain();
  }

  private async drain(): Promise<void> {
    this.sending = true;
    while (this.waiting) {
      const { value } = this.waiting;
      this.waiting = undefined;
      await this.send(value);
    }
    this.sending = false;
  }
}
