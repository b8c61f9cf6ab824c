import type { Control } from "./types";

const ARC_SECONDS = 3600;
/** How far one step turns at the whole picture; a magnified picture turns less, so that it moves alike. */
const TURN_DEGREES = 3;
const ZOOM_FACTOR = 1.08;

/** The nearest value that `control` allows. */
export function allowed(control: Control, value: number): number {
  const step = Math.max(1, control.step);
  const stepped = control.minimum + Math.round((value - control.minimum) / step) * step;
  const highest = control.minimum + Math.floor((control.maximum - control.minimum) / step) * step;
  return Math.min(highest, Math.max(control.minimum, stepped));
}

/** One step from `value` in `direction` (1 or -1); `zoom` in hundredths. It moves at least one of the control's own. */
export function stepped(control: Control, value: number, direction: 1 | -1, zoom: number): number {
  let next: number;
  if (control.control === "zoom") {
    next = direction > 0 ? value * ZOOM_FACTOR : value / ZOOM_FACTOR;
  } else {
    next = value + (direction * TURN_DEGREES * ARC_SECONDS * 100) / Math.max(100, zoom);
  }
  const result = allowed(control, next);
  return result === value ? allowed(control, value + direction * Math.max(1, control.step)) : result;
}

/** A control's value as people say it. */
export function spoken(control: string, value: number): string {
  const degrees = Math.round(Math.abs(value) / ARC_SECONDS);
  switch (control) {
    case "pan":
      return degrees === 0 ? "straight on" : `${degrees}° ${value > 0 ? "right" : "left"}`;
    case "tilt":
      return degrees === 0 ? "level" : `${degrees}° ${value > 0 ? "up" : "down"}`;
    case "zoom":
      return `${(value / 100).toFixed(1)}×`;
    case "exposure":
      return `1/${Math.max(1, Math.round(10000 / Math.max(1, value)))} s`;
    case "focus":
      return value === 0 ? "far" : String(value);
    case "white_balance":
      return `${value} K`;
    default:
      return String(value);
  }
}
