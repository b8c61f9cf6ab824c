import { recall, remember } from "../shared/store";

/** Light, dark, or as the browser's system is. */
export type Theme = "auto" | "light" | "dark";

const KEY = "rostrum.theme";

/** The theme that this browser remembers. */
export function theme(): Theme {
  return recall<Theme>(KEY, "auto");
}

/** Shows the page in `chosen` and remembers it. */
export function applyTheme(chosen: Theme): void {
  if (chosen === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
  remember(KEY, chosen);
}
