import { useEffect, useMemo, useRef, useState } from "react";
import { Latest } from "./latest";

interface SliderProps {
  label: string;
  testId: string;
  minimum: number;
  maximum: number;
  step: number;
  /** As the device says. */
  value: number;
  disabled?: boolean;
  spoken: (value: number) => string;
  /** Reports its own errors. */
  send: (value: number) => Promise<unknown>;
}

/** How long the hand goes before the device, after the last touch. */
const HAND_MS = 700;

/** A slider that follows the hand while it is dragged and the device otherwise. */
export function Slider({ label, testId, minimum, maximum, step, value, disabled, spoken, send }: SliderProps) {
  const [held, setHeld] = useState<number>();
  const way = useRef(send);
  way.current = send;
  const latest = useMemo(() => new Latest<number>((next) => way.current(next)), []);

  useEffect(() => {
    if (held === undefined) return;
    const timer = setTimeout(() => setHeld(undefined), HAND_MS);
    return () => clearTimeout(timer);
  }, [held, value]);

  const shownValue = held ?? value;
  return (
    <label className="slider">
      <span className="slider-label">{label}</span>
      <input type="range" min={minimum} max={maximum} step={step} value={shownValue} disabled={disabled} aria-label={label}
        aria-valuetext={spoken(shownValue)} data-testid={testId}
        onChange={(event) => {
          const next = Number(event.target.value);
          setHeld(next);
          latest.push(next);
        }} />
      <output className="slider-value">{spoken(shownValue)}</output>
    </label>
  );
}
