import { Component, type ReactNode } from "react";

const RELOAD_MS = 10_000;

/** Catches a mistake of the page itself: says so, and starts the page afresh, so that no wall shows a blank one. */
export class Boundary extends Component<{ children: ReactNode }, { failed: boolean }> {
  override state = { failed: false };

  static getDerivedStateFromError() {
    return { failed: true };
  }

  override componentDidCatch() {
    setTimeout(() => window.location.reload(), RELOAD_MS);
  }

  override render() {
    if (!this.state.failed) return this.props.children;
    return (
      <main className="failed" role="alert" data-testid="failed">
        <h1>Something went wrong on this page</h1>
        <p className="soft">It starts again in a few seconds.</p>
        <button className="button accent" onClick={() => window.location.reload()}>Start again now</button>
      </main>
    );
  }
}
