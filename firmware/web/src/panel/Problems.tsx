import { Notice, type Tone } from "../shared/Notice";
import type { Problem } from "./types";
import { useDeviceTime, usePanel } from "./usePanel";
import { lasted } from "./words";

const TONES: Record<Problem["severity"], Tone> = { info: "info", warning: "wait", error: "stop" };

/** What the device wants people to know, the newest first. */
export function Problems() {
  const { state } = usePanel();
  const nowUs = useDeviceTime();
  return [...state.errors].reverse().map((problem) => {
    const age = nowUs - problem.since_us;
    return (
      <Notice key={problem.code} tone={TONES[problem.severity]} title={problem.message} hint={problem.hint}
        testId={`problem-${problem.code}`}>
        {age > 60e6 && <span className="soft small">for {lasted(age)}</span>}
      </Notice>
    );
  });
}
