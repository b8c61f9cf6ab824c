import { createContext, useCallback, useContext, useEffect, useMemo, useRef, useState } from "react";
import { ApiError, call } from "./api";
import { Live, type Standing } from "./live";
import type { State } from "./types";

/** What every part of the page gets: the device's state, and a way to ask it for something. */
export interface Panel {
  state: State;
  /** Asks the device; what goes wrong is shown on the page. Resolves to whether it was done. */
  act: (method: string, path: string, body?: unknown) => Promise<boolean>;
}

export const PanelContext = createContext<Panel | null>(null);

/** The panel around this component. */
export function usePanel(): Panel {
  const panel = useContext(PanelContext);
  if (!panel) throw new Error("a part of the panel is used outside of it");
  return panel;
}

/** How often what is told in minutes is told anew. */
const CLOCK_MS = 10_000;

/** The device's clock in microseconds, also while it has nothing new to say. */
export function useDeviceTime(): number {
  const { state } = usePanel();
  const arrived = useMemo(() => ({ state, at: performance.now() }), [state]);
  const [now, setNow] = useState(arrived.at);
  useEffect(() => {
    const timer = setInterval(() => setNow(performance.now()), CLOCK_MS);
    return () => clearInterval(timer);
  }, []);
  return state.now_us + Math.max(0, now - arrived.at) * 1000;
}

/** The device, live: its state (once known), how we stand with it, and the last thing that it refused. */
export function useDevice() {
  const [state, setState] = useState<State>();
  const [standing, setStanding] = useState<Standing>("connecting");
  const [refused, setRefused] = useState<ApiError>();
  const live = useRef<Live>(null);

  useEffect(() => {
    const keeper = new Live(
      {
        open: openEvents,
        ask: askIn,
        after: (ms, run) => {
          const timer = setTimeout(run, ms);
          return () => clearTimeout(timer);
        },
        random: Math.random,
      },
      setState,
      setStanding,
    );
    live.current = keeper;
    keeper.start();
    // Back from sleep or from another network: do not wait for the next try.
    const again = () => keeper.start();
    window.addEventListener("online", again);
    return () => {
      window.removeEventListener("online", again);
      keeper.stop();
    };
  }, []);

  const report = useCallback((error: unknown) => {
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 401) live.current?.start();
    else setRefused(error);
  }, []);
  const act = useCallback(
    async (method: string, path: string, body?: unknown) => {
      try {
        await call(method, path, body);
        setRefused(undefined);
        return true;
      } catch (error) {
        report(error);
        return false;
      }
    },
    [report],
  );
  const retry = useCallback(() => live.current?.start(), []);
  const forget = useCallback(() => setRefused(undefined), []);
  return { state, standing, refused, act, retry, forget };
}

function openEvents(onState: (state: State) => void, onOpen: () => void, onClose: () => void) {
  const socket = new WebSocket(`${window.location.origin.replace(/^http/, "ws")}/api/v1/events`);
  socket.onopen = onOpen;
  socket.onclose = onClose;
  socket.onmessage = (message) => {
    const value = JSON.parse(String(message.data)) as State & { type?: string };
    // Other kinds of messages name their type; the state itself has none, or says so.
    if ("room" in value) onState(value);
  };
  return {
    close: () => {
      socket.onclose = null;
      socket.close();
    },
  };
}

async function askIn(): Promise<"in" | "locked" | "new" | "unreachable"> {
  try {
    const session = await call<{ welcome: boolean; password_set: boolean }>("GET", "session");
    if (session.welcome) return "in";
    return session.password_set ? "locked" : "new";
  } catch {
    return "unreachable";
  }
}
