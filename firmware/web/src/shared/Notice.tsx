import type { ReactNode } from "react";
import { Icon, type IconName } from "./Icon";

const ICONS: Record<Tone, IconName> = { stop: "warning", wait: "warning", go: "check", info: "info" };

/** How grave a notice is: `stop` something is broken, `wait` it heals or will, `go` it worked. */
export type Tone = "stop" | "wait" | "go" | "info";

/** What happened, in plain words, and below it what to do. */
export function Notice(props: { tone: Tone; title: string; hint?: string; testId?: string; children?: ReactNode }) {
  return (
    <div className={`notice ${props.tone}`} role={props.tone === "stop" ? "alert" : "status"} data-testid={props.testId}>
      <Icon name={ICONS[props.tone]} />
      <div>
        <strong>{props.title}</strong>
        {props.hint && <span className="soft">{props.hint}</span>}
      </div>
      <div className="row">{props.children}</div>
    </div>
  );
}
