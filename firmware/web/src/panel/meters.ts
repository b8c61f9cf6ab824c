/** Decibels that a bar shows: from silence to the loudest. */
export const SHOWN_DB = 60;

/** The share of a bar that a loudness in dB fills, 0 to 1. */
export function share(db: number | null): number {
  return db === null ? 0 : Math.min(1, Math.max(0, 1 + db / SHOWN_DB));
}

/** Outline of a wedge from the middle: `half` degrees on either side of `degrees`, counter-clockwise from the right. */
export function arc(degrees: number, half: number, radius: number): string {
  const at = (angle: number) => {
    const radians = (angle * Math.PI) / 180;
    // An SVG counts down.
    return `${(radius * Math.cos(radians)).toFixed(1)} ${(-radius * Math.sin(radians)).toFixed(1)}`;
  };
  return `M0 0L${at(degrees - half)}A${radius} ${radius} 0 0 0 ${at(degrees + half)}Z`;
}
