import { Icon } from "../shared/Icon";
import { Notice } from "../shared/Notice";
import type { Check } from "./types";
import { usePanel } from "./usePanel";
import { label, measured } from "./words";

/** Tests of the devices: begun, followed, answered, and what they found. */
export function Selftest() {
  const { state, act } = usePanel();
  const test = state.selftest;
  const meeting = state.room.phase !== "idle";
  const answer = (yes: boolean) => void act("POST", "selftest/answer", { yes });
  return (
    <div className="stack selftest" data-testid="selftest" data-running={Boolean(test?.running)}>
      <h3>Self-test</h3>
      {meeting && <p className="soft small">A meeting needs its devices; they can be tested after it.</p>}
      <div className="row">
        {test?.running ? (
          <button className="button" data-testid="selftest-stop" onClick={() => void act("DELETE", "selftest")}>Stop</button>
        ) : (
          <>
            <button className="button accent" data-testid="selftest-all" disabled={meeting}
              onClick={() => void act("POST", "selftest", { person: true })}>
              Test everything
            </button>
            <button className="button quiet" data-testid="selftest-alone" disabled={meeting}
              onClick={() => void act("POST", "selftest", { person: false })}>
              Without my help
            </button>
          </>
        )}
      </div>
      {test?.running && <Progress now={test.part} done={test.checks.length} remaining={test.remaining} />}
      {test?.please && <Notice tone="wait" title={test.please} testId="selftest-please" />}
      {test?.question && (
        <Notice tone="wait" title={test.question} testId="selftest-question">
          <button className="button go" data-testid="selftest-yes" onClick={() => answer(true)}>Yes</button>
          <button className="button" data-testid="selftest-no" onClick={() => answer(false)}>No</button>
        </Notice>
      )}
      {test && test.checks.length > 0 && (
        <ul className="checks" data-testid="selftest-checks">
          {test.checks.map((check) => <CheckLine key={check.name} check={check} />)}
        </ul>
      )}
    </div>
  );
}

function Progress({ now, done, remaining }: { now: string | null; done: number; remaining: number }) {
  return (
    <div className="row nowrap">
      <span className="spinner" />
      <progress className="grow" value={done} max={Math.max(1, done + remaining)} aria-label="Self-test" />
      <span className="soft small" data-testid="selftest-part">{now ? label(now) : "Getting the devices"}</span>
    </div>
  );
}

function CheckLine({ check }: { check: Check }) {
  const icon = check.outcome === "passed" ? "check" : check.outcome === "failed" ? "warning" : "minus";
  const tone = check.outcome === "passed" ? "go" : check.outcome === "failed" ? "stop" : "soft";
  return (
    <li data-testid={`check-${check.name.replaceAll(" ", "_")}`} data-outcome={check.outcome}>
      <span className={`health ${tone}`}><Icon name={icon} /></span>
      <div className="grow">
        <strong>{label(check.name)}</strong>
        {check.problem && <span className="hint">{label(check.problem)}.</span>}
        {check.remedy && <span className="soft small hint">What to do: {check.remedy}.</span>}
        {check.reason && <span className="soft small hint">Not tested: {check.reason}.</span>}
        {check.figures.length > 0 && <span className="soft small hint">{check.figures.map(measured).join(", ")}</span>}
      </div>
    </li>
  );
}
