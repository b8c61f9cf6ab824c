/** What of a keyboard event decides whether it is a shortcut. */
export interface Keystroke {
  key: string;
  repeat: boolean;
  ctrlKey: boolean;
  altKey: boolean;
  metaKey: boolean;
  target: { tagName?: string; type?: string; isContentEditable?: boolean } | null;
}

const TYPED_INTO = new Set(["INPUT", "TEXTAREA", "SELECT"]);
/** Kinds of input that letters do not change. */
const NOT_TYPED_INTO = new Set(["range", "checkbox", "radio", "button"]);
/** What the space bar already works on. */
const PRESSED_BY_SPACE = new Set(["BUTTON", "SUMMARY", "A", "INPUT"]);

/**
 * The action that a keystroke stands for, by `keys` (key -> action), or nothing: while text is typed, when a
 * control has the focus that the space bar presses, with a modifier, or when the key is only held down.
 */
export function shortcut<Action>(stroke: Keystroke, keys: Record<string, Action>): Action | undefined {
  if (stroke.repeat || stroke.ctrlKey || stroke.altKey || stroke.metaKey) return undefined;
  const { tagName = "", type = "", isContentEditable = false } = stroke.target ?? {};
  if (isContentEditable || (TYPED_INTO.has(tagName) && !NOT_TYPED_INTO.has(type))) return undefined;
  if (stroke.key === " " && PRESSED_BY_SPACE.has(tagName)) return undefined;
  const key = stroke.key.length === 1 ? stroke.key.toLowerCase() : stroke.key;
  return Object.hasOwn(keys, key) ? keys[key] : undefined;
}
