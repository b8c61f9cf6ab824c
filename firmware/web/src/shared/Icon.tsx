/** Line drawings on a 24 by 24 grid, one path each. */
const PATHS = {
  mic: "M12 3a3 3 0 0 1 3 3v6a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3zM5 11v1a7 7 0 0 0 14 0v-1M12 19v3",
  micOff: "M3 3l18 18M15 10V6a3 3 0 0 0-5.7-1.3M9 9v3a3 3 0 0 0 4.6 2.5M5 11v1a7 7 0 0 0 11 5.7M19 11v1c0 .9-.2 1.8-.5 2.6M12 19v3",
  camera: "M4 6h9a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2H4a2 2 0 0 1-2-2V8a2 2 0 0 1 2-2zM15 11l7-4v10l-7-4",
  cameraOff: "M3 3l18 18M10 6h3a2 2 0 0 1 2 2v3l7-4v10l-2.5-1.4M15 15v1a2 2 0 0 1-2 2H4a2 2 0 0 1-2-2V8a2 2 0 0 1 2-2",
  screen: "M4 4h16a2 2 0 0 1 2 2v9a2 2 0 0 1-2 2H4a2 2 0 0 1-2-2V6a2 2 0 0 1 2-2zM8 21h8M12 17v4",
  share: "M4 4h16a2 2 0 0 1 2 2v9a2 2 0 0 1-2 2H4a2 2 0 0 1-2-2V6a2 2 0 0 1 2-2zM8 21h8M12 14V8M9 10.5L12 7.5l3 3",
  chat: "M4 4h16a2 2 0 0 1 2 2v9a2 2 0 0 1-2 2H9l-5 4v-4a2 2 0 0 1-2-2V6a2 2 0 0 1 2-2z",
  leave: "M3.5 14.5c-1.5-2-1.5-4 0-5C6 7.500 9 7 12 7s6 .5 8.500 2.500c1.500 1 1.500 3 0 5-.5.7-1.400.8-2.200.4L15.500 13.500c-.6-.3-.9-.9-.8-1.500v-1c-1.700-.5-3.700-.5-5.400 0v1c.1.6-.2 1.200-.8 1.500l-2.800 1.400c-.8.4-1.700.3-2.200-.4z",
  join: "M5 4h3.500l2 5-2.500 1.500a12 12 0 0 0 5.500 5.500L15 13.500l5 2V19a2 2 0 0 1-2 2A15 15 0 0 1 3 6a2 2 0 0 1 2-2z",
  settings: "M4 7h9M17 7h3M4 17h3M11 17h9M15 4.500a2.500 2.500 0 1 0 .001 0M9 14.500a2.500 2.500 0 1 0 .001 0",
  people: "M9 11a4 4 0 1 0-.001 0M2 21v-1a6 6 0 0 1 6-6h2a6 6 0 0 1 6 6v1M16 4a4 4 0 0 1 0 7M18 14.500a6 6 0 0 1 4 5.500v1",
  volume: "M4 9v6h4l5 4V5L8 9zM16.500 8.500a5 5 0 0 1 0 7M19 6a9 9 0 0 1 0 12",
  volumeOff: "M4 9v6h4l5 4V5L8 9zM17 9.500l5 5M22 9.500l-5 5",
  up: "M6 15l6-6 6 6",
  down: "M6 9l6 6 6-6",
  left: "M15 6l-6 6 6 6",
  right: "M9 6l6 6-6 6",
  home: "M4 11l8-7 8 7v8a1 1 0 0 1-1 1h-4v-6H9v6H5a1 1 0 0 1-1-1z",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  close: "M6 6l12 12M18 6L6 18",
  check: "M5 12.500l5 5L19.500 7",
  copy: "M9 9h10a1 1 0 0 1 1 1v10a1 1 0 0 1-1 1H9a1 1 0 0 1-1-1V10a1 1 0 0 1 1-1zM5 15H4a1 1 0 0 1-1-1V4a1 1 0 0 1 1-1h10a1 1 0 0 1 1 1v1",
  warning: "M12 4L2.500 20h19zM12 10v4.500M12 17.300v.2",
  info: "M12 3a9 9 0 1 0 .001 0M12 11v5.500M12 7.500v.2",
  send: "M4 12l16-8-6 16-3-7z",
  trash: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13",
  refresh: "M20 11a8 8 0 0 0-14.500-4L3 9.500M3 4.500v5h5M4 13a8 8 0 0 0 14.500 4L21 14.500M21 19.500v-5h-5",
  bolt: "M13 3L5 14h6l-1 7 8-11h-6z",
} as const;

/** The name of a drawing. */
export type IconName = keyof typeof PATHS;

/** A drawing in the colour of the text beside it; it says nothing to a screen reader. */
export function Icon({ name }: { name: IconName }) {
  return (
    <svg className="icon" viewBox="0 0 24 24" fill="none" stroke="currentColor" strokeWidth="2"
      strokeLinecap="round" strokeLinejoin="round" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
