import { useEffect, useRef, useState } from "react";
import { Icon } from "../shared/Icon";
import { useLooked } from "./useLooked";
import { usePanel } from "./usePanel";

const AGAIN_MS = 2000;

/** What the room's screen shows, live, while somebody looks. */
export function Picture() {
  const { state } = usePanel();
  const frame = useRef<HTMLElement>(null);
  const looked = useLooked(frame);
  const [serial, setSerial] = useState(0);
  const [broken, setBroken] = useState(false);
  const [shows, setShows] = useState(false);

  useEffect(() => {
    if (!broken) return;
    const timer = setTimeout(() => {
      setSerial((old) => old + 1);
      setBroken(false);
    }, AGAIN_MS);
    return () => clearTimeout(timer);
  }, [broken]);

  const display = state.devices["display"];
  return (
    <figure ref={frame} className="picture card" aria-label="The room's screen">
      {looked && !broken && (
        <img key={serial} src={`/api/v1/screen.mjpeg?view=${serial}`} alt="What the room's screen shows now"
          data-testid="screen" onLoad={() => setShows(true)} onError={() => {
            setShows(false);
            setBroken(true);
          }} />
      )}
      {!shows && (
        <div className="no-picture" data-testid="no-screen">
          <Icon name="screen" />
          <span>{display && !display.ok ? "The screen does not work" : "No picture of the screen yet"}</span>
        </div>
      )}
    </figure>
  );
}
