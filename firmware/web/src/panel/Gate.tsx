import { useState } from "react";
import { Notice } from "../shared/Notice";
import { ApiError, call } from "./api";

const SHORTEST = 8;

/** The door: the password, or at the first start a new one. */
export function Gate({ isNew, onIn }: { isNew: boolean; onIn: () => void }) {
  const [password, setPassword] = useState("");
  const [again, setAgain] = useState("");
  const [busy, setBusy] = useState(false);
  const [refused, setRefused] = useState<ApiError>();
  const short = isNew && [...password].length < SHORTEST;
  const differs = isNew && again !== "" && again !== password;

  const submit = async (event: React.FormEvent) => {
    event.preventDefault();
    setBusy(true);
    try {
      await call("POST", isNew ? "password" : "session", { password });
      setRefused(undefined);
      onIn();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      setRefused(error);
      // Somebody else was faster to set it: then it is asked for.
      if (error.code === "password_already_set") onIn();
    } finally {
      setBusy(false);
    }
  };

  return (
    <main className="waiting">
      <form className="card stack gate" onSubmit={submit} data-testid={isNew ? "set-password" : "login"}>
        <h1>{isNew ? "Choose a password" : "Room panel"}</h1>
        <p className="soft">
          {isNew
            ? "This device is new. Whoever knows the password can use this panel."
            : "Enter the password of this room's device."}
        </p>
        {refused && <Notice tone="stop" title={refused.message} hint={refused.hint} testId="refused" />}
        <input type="text" name="username" autoComplete="username" value="room" readOnly hidden />
        <label className="field">
          <span>Password</span>
          <input type="password" data-testid="password" value={password} autoFocus maxLength={64}
            autoComplete={isNew ? "new-password" : "current-password"} onChange={(event) => setPassword(event.target.value)} />
        </label>
        {isNew && (
          <label className="field">
            <span>Once more</span>
            <input type="password" data-testid="password-again" value={again} maxLength={64} autoComplete="new-password"
              onChange={(event) => setAgain(event.target.value)} />
          </label>
        )}
        {isNew && (
          <p className="soft small" aria-live="polite">
            {differs ? "The two are not the same." : `At least ${SHORTEST} characters.`}
          </p>
        )}
        <button className="button accent" data-testid="enter" disabled={busy || password === "" || short || (isNew && again !== password)}>
          {isNew ? "Set password" : "Enter"}
        </button>
      </form>
    </main>
  );
}
