import { useTracks } from "@livekit/components-react";
import type { TrackReferenceOrPlaceholder } from "@livekit/components-react";
import { Track } from "livekit-client";
import { useEffect, useRef, useState } from "react";
import { gridFor } from "./grid";
import { Tile } from "./Tile";

const key = (track: TrackReferenceOrPlaceholder) => `${track.participant.identity}:${track.source}`;

/**
 * Everybody's pictures. A shared screen is large with the people in a strip; two people see each other large and
 * themselves small; more share a grid.
 */
export function Stage() {
  const tracks = useTracks(
    [{ source: Track.Source.Camera, withPlaceholder: true }, { source: Track.Source.ScreenShare, withPlaceholder: false }],
    { onlySubscribed: false },
  );
  const [box, size] = useSize();
  const screens = tracks.filter((track) => track.source === Track.Source.ScreenShare);
  const remote = tracks.filter((track) => track.source === Track.Source.Camera && !track.participant.isLocal);
  const own = tracks.filter((track) => track.source === Track.Source.Camera && track.participant.isLocal);
  // What others show goes before what we show ourselves.
  const shared = screens.find((track) => !track.participant.isLocal) ?? screens[0];

  let layout: "focus" | "pair" | "grid" = "grid";
  if (shared) layout = "focus";
  else if (remote.length <= 1) layout = "pair";

  const small = layout === "focus" ? [...remote, ...own] : layout === "pair" ? own : [];
  const large = layout === "focus" ? [shared!] : layout === "pair" ? remote : [...remote, ...own];
  const grid = gridFor(large.length, size.width, size.height);

  return (
    <section ref={box} className={`stage ${layout}`} aria-label="People in the meeting" data-testid="stage"
      data-remote={remote.length}>
      <div className="large" style={{ "--columns": grid.columns, "--rows": grid.rows } as React.CSSProperties}>
        {large.map((track) => <Tile key={key(track)} track={track} />)}
        {layout === "pair" && remote.length === 0 && (
          <p className="alone" data-testid="alone">Nobody else is here yet. Stay: you will see them as they come.</p>
        )}
      </div>
      {small.length > 0 && (
        <div className="strip">{small.map((track) => <Tile key={key(track)} track={track} />)}</div>
      )}
    </section>
  );
}

/** The size of an element, kept true. */
function useSize() {
  const box = useRef<HTMLElement>(null);
  const [size, setSize] = useState({ width: 1280, height: 720 });
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const observer = new ResizeObserver(([entry]) => {
      if (entry) setSize({ width: entry.contentRect.width, height: entry.contentRect.height });
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return [box, size] as const;
}
