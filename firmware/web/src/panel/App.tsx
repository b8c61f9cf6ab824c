import { useEffect, useMemo } from "react";
import { shown } from "../shared/names";
import { Notice } from "../shared/Notice";
import { shortcut } from "../shared/shortcuts";
import { Camera } from "./Camera";
import { Devices } from "./Devices";
import { Gate } from "./Gate";
import { GuestLink } from "./GuestLink";
import { Meeting } from "./Meeting";
import { People } from "./People";
import { Picture } from "./Picture";
import { Problems } from "./Problems";
import { RoomSettings } from "./RoomSettings";
import { FactoryReset } from "./FactoryReset";
import { Updates } from "./Updates";
import { inMeeting } from "./words";
import { PanelContext, useDevice, type Panel } from "./usePanel";
import { VirtualBoard } from "./VirtualBoard";
import { Voice } from "./Voice";

/** The room's panel. */
export function App() {
  const { state, standing, refused, act, retry, forget } = useDevice();
  const panel = useMemo<Panel | null>(() => (state ? { state, act } : null), [state, act]);

  useEffect(() => {
    if (!state || standing !== "live") return;
    const { room } = state;
    const toggleMute = () => {
      if (!room.muted || room.can_unmute) void act("PUT", "mute", { muted: !room.muted });
    };
    const toggleMeeting = () => {
      if (room.phase === "leaving") return;
      void act("POST", inMeeting(room.phase) ? "leave" : "join");
    };
    const onKey = (event: KeyboardEvent) => {
      const { key, repeat, ctrlKey, altKey, metaKey } = event;
      const target = event.target as HTMLElement | null;
      const run = shortcut(
        { key, repeat, ctrlKey, altKey, metaKey, target },
        { m: toggleMute, " ": toggleMute, j: toggleMeeting },
      );
      if (!run) return;
      event.preventDefault();
      run();
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [state, standing, act]);

  useEffect(() => {
    document.title = state?.display_name ? `${shown(state.display_name)} – room panel` : "Room panel";
  }, [state?.display_name]);

  if (standing === "locked" || standing === "new") return <Gate isNew={standing === "new"} onIn={retry} />;
  if (!panel) {
    return (
      <main className="waiting" data-testid="waiting">
        <span className="spinner" />
        <h1>{standing === "lost" ? "The device does not answer" : "Connecting to the device…"}</h1>
        {standing === "lost" && <p className="soft">Check that it has power and network. This page keeps trying.</p>}
      </main>
    );
  }
  return (
    <PanelContext.Provider value={panel}>
      <div className="panel" data-testid="panel" data-standing={standing} data-phase={panel.state.room.phase}>
        <div className="banners">
          {standing === "lost" && (
            <Notice tone="wait" title="Connection to the device lost" testId="offline"
              hint="What you see may be old. This page comes back by itself." />
          )}
          {refused && (
            <Notice tone="stop" title={refused.message} hint={refused.hint} testId="refused">
              <button className="button quiet" onClick={forget}>OK</button>
            </Notice>
          )}
          <Problems />
        </div>
        <Meeting />
        <div className="columns">
          <div className="column">
            <Picture />
            <Voice />
            <Camera />
            <GuestLink />
          </div>
          <div className="column">
            {panel.state.virtual && <VirtualBoard />}
            <People />
            <RoomSettings />
            <Devices />
            {panel.state.update && <Updates update={panel.state.update} />}
            {panel.state.can_reset && <FactoryReset />}
          </div>
        </div>
        <footer className="soft small foot">
          <span>Rostrum {panel.state.version}</span>
          <span><kbd>Space</kbd> or <kbd>M</kbd> mutes, <kbd>J</kbd> joins and leaves</span>
        </footer>
      </div>
    </PanelContext.Provider>
  );
}
