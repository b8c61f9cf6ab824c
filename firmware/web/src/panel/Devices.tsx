import { useCallback, useEffect, useState } from "react";
import { Icon, type IconName } from "../shared/Icon";
import { ApiError, call } from "./api";
import { Selftest } from "./Selftest";
import type { DeviceChoice, DeviceChoices, DeviceKind } from "./types";
import { usePanel } from "./usePanel";

const KINDS: { kind: DeviceKind; label: string; icon: IconName; part: string }[] = [
  { kind: "camera", label: "Camera", icon: "camera", part: "camera" },
  { kind: "microphones", label: "Microphones", icon: "mic", part: "sound" },
  { kind: "speaker", label: "Speaker", icon: "volume", part: "sound" },
];
/** What is used and cannot be exchanged here. */
const OTHERS: { device: string; label: string; icon: IconName; part: string }[] = [
  { device: "display", label: "Screen", icon: "screen", part: "display" },
  { device: "content_display", label: "Second screen", icon: "share", part: "content_display" },
  { device: "encoder", label: "Video encoder", icon: "bolt", part: "encoder" },
];

/** Which devices are used, which could be, and whether they work. */
export function Devices() {
  const { state, act } = usePanel();
  const [open, setOpen] = useState(false);
  const [choices, setChoices] = useState<DeviceChoices>();
  const [problem, setProblem] = useState<string>();
  /** Which kind is being exchanged, as that takes a moment. */
  const [exchanging, setExchanging] = useState<DeviceKind>();
  const look = useCallback(async () => {
    try {
      setChoices(await call<DeviceChoices>("GET", "devices"));
      setProblem(undefined);
    } catch (error) {
      setProblem(error instanceof ApiError ? `${error.message} ${error.hint}` : String(error));
    }
  }, []);
  const { devices } = state;
  const used = KINDS.map(({ kind }) => devices[kind]?.name).join("\n");
  // What is plugged in changes; what is used may be changed on another page.
  useEffect(() => {
    if (open) void look();
  }, [open, used, look]);

  const busy = state.room.phase !== "idle" || Boolean(state.selftest?.running);
  const test = (part: string) => act("POST", "selftest", { parts: [part], person: true });
  const choose = async (kind: DeviceKind, id: string) => {
    setExchanging(kind);
    await act("PUT", `devices/${kind}`, { id });
    await look();
    setExchanging(undefined);
  };
  return (
    <section className="card stack devices" data-testid="devices">
      <details className="more" onToggle={(event) => setOpen(event.currentTarget.open)}>
        <summary data-testid="devices-open"><h2 className="row"><Icon name="settings" /> Devices</h2></summary>
        <div className="stack">
          {KINDS.filter(({ kind }) => devices[kind]).map(({ kind, label, icon, part }) => (
            <div className="device-row" key={kind} data-testid={`device-${kind}`} data-ok={devices[kind]!.ok}>
              <Icon name={icon} />
              <Chooser label={label} kind={kind} name={devices[kind]!.name} choices={choices?.[kind] ?? []}
                busy={exchanging === kind} choose={(id) => void choose(kind, id)} />
              {exchanging === kind ? <span className="spinner" role="status" aria-label="Changing the device" />
                : <Health ok={devices[kind]!.ok} />}
              <TestButton label={label} testId={`test-${kind}`} disabled={busy} run={() => void test(part)} />
            </div>
          ))}
          {OTHERS.filter(({ device }) => devices[device]).map(({ device, label, icon, part }) => (
            <div className="device-row" key={device} data-testid={`device-${device}`} data-ok={devices[device]!.ok}>
              <Icon name={icon} />
              <div className="grow"><strong>{label}</strong><span className="soft small hint cut">{devices[device]!.name}</span></div>
              <Health ok={devices[device]!.ok} />
              <TestButton label={label} testId={`test-${device}`} disabled={busy} run={() => void test(part)} />
            </div>
          ))}
          {problem && <p className="soft small" role="alert">{problem}</p>}
          <div className="row">
            <button className="button quiet small-button" data-testid="devices-look" onClick={() => void look()}>Look again</button>
          </div>
          <Selftest />
        </div>
      </details>
    </section>
  );
}

interface ChooserProps {
  label: string;
  kind: DeviceKind;
  name: string;
  choices: DeviceChoice[];
  busy: boolean;
  choose: (id: string) => void;
}

/** The device in use, and what could be used in its place when there is anything. */
function Chooser({ label, kind, name, choices, busy, choose }: ChooserProps) {
  const chosen = choices.find((choice) => choice.chosen);
  if (choices.length < 2) {
    return <div className="grow"><strong>{label}</strong><span className="soft small hint cut">{name}</span></div>;
  }
  return (
    <label className="field grow">
      <span>{label}</span>
      <select className="input" data-testid={`choose-${kind}`} value={chosen?.id ?? ""} disabled={busy}
        onChange={(event) => choose(event.target.value)}>
        {!chosen && <option value="">{name}</option>}
        {choices.map((choice) => (
          <option key={choice.id} value={choice.id}>
            {choice.title}{choice.problem ? ` (${choice.problem})` : ""}
          </option>
        ))}
      </select>
    </label>
  );
}

function Health({ ok }: { ok: boolean }) {
  return ok
    ? <span className="health go"><Icon name="check" /><span className="hidden-text">works</span></span>
    : <span className="health stop"><Icon name="warning" /><span className="hidden-text">does not work</span></span>;
}

function TestButton({ label, testId, disabled, run }: { label: string; testId: string; disabled: boolean; run: () => void }) {
  return (
    <button className="button quiet" data-testid={testId} disabled={disabled} aria-label={`Test: ${label}`} onClick={run}>
      Test
    </button>
  );
}
