import { useState } from "react";
import { Icon } from "../shared/Icon";
import { Notice } from "../shared/Notice";
import { ApiError, send } from "./api";
import type { Update } from "./types";
import { usePanel } from "./usePanel";

const WORDS: Record<Update["phase"], string> = {
  idle: "No update is under way.",
  waiting: "An update waits.",
  fetching: "An update is being fetched.",
  installing: "An update is being installed. You can meet all the same.",
  restarting: "The device restarts into the new version.",
  checking: "The new version shows that it is good. If it is not, the one before comes back by itself.",
};

/** Updates of the software: how they stand, and what a person can do about them. */
export function Updates({ update }: { update: Update }) {
  const { act } = usePanel();
  const [sent, setSent] = useState<number | null>(null);
  const [problem, setProblem] = useState<ApiError | null>(null);
  const bring = async (file: File) => {
    setProblem(null);
    setSent(0);
    try {
      await send("updates/bundle", file, setSent);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      setProblem(error);
    } finally {
      setSent(null);
    }
  };
  const percent = sent ?? update.percent;
  const reason = update.phase === "waiting" && update.reason ? `It ${update.reason}.` : null;
  return (
    <section className="card stack updates" data-testid="updates" data-phase={update.phase}>
      <h2 className="row"><Icon name="refresh" /> Software</h2>
      <p data-testid="update-words">
        Version {update.running} runs.{" "}
        {sent !== null ? "Your bundle is being sent." : update.version && update.phase !== "idle"
          ? `Version ${update.version}: ${WORDS[update.phase].toLowerCase()}` : WORDS[update.phase]}
      </p>
      {reason && <p className="soft small" data-testid="update-reason">{reason}</p>}
      {percent !== null && (
        <div className="row nowrap">
          <progress className="grow" value={percent} max={100} aria-label="Update" />
          <span className="soft small" data-testid="update-percent">{percent} %</span>
        </div>
      )}
      {update.asks && (
        <Notice tone="wait" title={update.version ? `Install version ${update.version}?` : "Install the new version?"}
          testId="update-asks" hint="It comes when nobody meets. The device restarts once.">
          <button className="button go" data-testid="update-yes" onClick={() => void act("PUT", "updates/confirm", { yes: true })}>
            Install
          </button>
          <button className="button" data-testid="update-no" onClick={() => void act("PUT", "updates/confirm", { yes: false })}>
            Not now
          </button>
        </Notice>
      )}
      {problem && <Notice tone="stop" title={problem.message} hint={problem.hint} testId="update-problem" />}
      {update.last && update.phase === "idle" && (
        <Notice tone={update.last.ok ? "go" : "stop"} testId="update-last"
          title={update.last.ok ? "The last update went well." : "The last update failed."} hint={update.last.text} />
      )}
      <div className="row">
        <button className="button quiet" data-testid="update-check" disabled={update.phase !== "idle"}
          onClick={() => void act("POST", "updates/check")}>
          Look for updates
        </button>
        <label className="button quiet" aria-disabled={sent !== null}>
          Install a file…
          <input type="file" accept=".raucb" hidden data-testid="update-file" disabled={sent !== null}
            onChange={(event) => {
              const file = event.target.files?.[0];
              event.target.value = "";
              if (file) void bring(file);
            }} />
        </label>
      </div>
    </section>
  );
}
