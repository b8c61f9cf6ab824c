import { useState } from "react";
import { Icon } from "../shared/Icon";
import { Notice } from "../shared/Notice";
import { usePanel } from "./usePanel";

/** Makes the device forget everything but what the factory gave it; asks whether that is meant. */
export function FactoryReset() {
  const { state, act } = usePanel();
  const [asks, setAsks] = useState(false);
  const running = state.room.reset_in_s !== null;
  return (
    <section className="card stack factory-reset" data-testid="factory-reset">
      <details className="more">
        <summary data-testid="factory-reset-open"><h2 className="row"><Icon name="trash" /> Reset to factory</h2></summary>
        <div className="stack">
          <p className="soft small">
            The device forgets its settings, this page's password, presets and chosen devices, and restarts. Its name, its key
            and its software stay.
          </p>
          {!asks && (
            <div className="row">
              <button className="button quiet" data-testid="factory-reset-ask" disabled={running} onClick={() => setAsks(true)}>
                Reset…
              </button>
            </div>
          )}
          {asks && (
            <Notice tone="stop" title="Forget everything?" testId="factory-reset-question"
              hint={state.room.phase === "idle" ? "This cannot be undone." : "The meeting ends for this room. This cannot be undone."}>
              <button className="button stop" data-testid="factory-reset-confirm" disabled={running}
                onClick={() => {
                  setAsks(false);
                  void act("POST", "factory_reset", { confirm: true });
                }}>
                Yes, reset
              </button>
              <button className="button" data-testid="factory-reset-cancel" onClick={() => setAsks(false)}>Cancel</button>
            </Notice>
          )}
        </div>
      </details>
    </section>
  );
}
