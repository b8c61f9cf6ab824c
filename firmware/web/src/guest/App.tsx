import { useCallback, useEffect, useMemo, useReducer, useState } from "react";
import { retryDelay } from "../shared/backoff";
import { guestName, shown, toName } from "../shared/names";
import { Notice } from "../shared/Notice";
import { firstChoices, recallChoices, rememberChoices, type Choices } from "./choices";
import { redeem } from "./invite";
import { parseLink } from "./link";
import { Lobby } from "./Lobby";
import { Meeting } from "./Meeting";
import { next, type Session } from "./session";

/** The guest's page: lobby, meeting, farewell. */
export function App() {
  const link = useMemo(() => parseLink(window.location.search), []);
  const [fallback] = useState(() => guestName(Math.random()));
  const [choices, setChoices] = useState<Choices>(() => firstChoices(link, recallChoices(), fallback));
  const [session, dispatch] = useReducer(next, link.autojoin && link.invite !== "", (now): Session =>
    now ? { at: "entering", tries: 0 } : { at: "lobby" },
  );
  const name = toName(choices.name) || fallback;

  const choose = useCallback((changed: Partial<Choices>) => setChoices((old) => ({ ...old, ...changed })), []);
  const join = useCallback(() => {
    rememberChoices(choices);
    dispatch({ is: "join" });
  }, [choices]);

  useEffect(() => {
    if (session.at !== "entering") return;
    const stop = new AbortController();
    void redeem(link.invite, name, stop.signal).then((answer) => {
      if (stop.signal.aborted) return;
      dispatch("seat" in answer ? { is: "seated", seat: answer.seat } : { is: "failed", ...answer });
    });
    return () => stop.abort();
  }, [session.at, link.invite, name]);

  useEffect(() => {
    if (session.at !== "waiting") return;
    const timer = setTimeout(() => dispatch({ is: "waited" }), retryDelay(session.tries - 1, Math.random()));
    return () => clearTimeout(timer);
  }, [session]);

  useEffect(() => {
    document.title = link.channel ? `${shown(link.channel)} – meeting` : "Join the meeting";
  }, [link.channel]);

  switch (session.at) {
    case "lobby":
      return (
        <Lobby link={link} choices={choices} choose={choose} name={name} trouble={session.trouble} onJoin={join} />
      );
    case "meeting":
      return <Meeting seat={session.seat} choices={choices} choose={choose} debug={link.debug} dispatch={dispatch} />;
    case "entering":
    case "waiting":
      return (
        <main className="doorstep" data-testid="connecting" aria-busy="true">
          <span className="spinner" />
          <h1>{session.tries === 0 ? "Joining…" : "Coming back…"}</h1>
          {session.at === "waiting" && <Notice tone="wait" title={session.trouble.title} hint={session.trouble.hint} />}
          <button className="button quiet" data-testid="leave" onClick={() => dispatch({ is: "leave" })}>Leave</button>
        </main>
      );
    case "out":
      return (
        <main className="doorstep" data-testid="out">
          {session.trouble ? (
            <Notice tone="stop" title={session.trouble.title} hint={session.trouble.hint} testId="trouble" />
          ) : (
            <h1>You left the meeting</h1>
          )}
          <button className="button accent" data-testid="rejoin" onClick={join}>Join again</button>
        </main>
      );
  }
}
