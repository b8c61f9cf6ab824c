/** Names that the service takes: 1 to 64 of these characters (the design's DisplayName). */
const NAME = /^[A-Za-z0-9_-]{1,64}$/;

/** Letters that do not come apart into a plain letter and a mark. */
const LETTERS: Record<string, string> = {
  ß: "ss", ẞ: "SS", æ: "ae", Æ: "AE", œ: "oe", Œ: "OE", ø: "o", Ø: "O", ł: "l", Ł: "L", đ: "d", Đ: "D", ð: "d", Ð: "D",
  þ: "th", Þ: "Th", ı: "i",
};

/** Whether the service takes `text` as it is. */
export function isName(text: string): boolean {
  return NAME.test(text);
}

/**
 * What people type, as a name that the service takes: "Zoë Müller" becomes "Zoe-Muller".
 * Empty when nothing of it can be kept; the caller then asks for another or uses a default.
 */
export function toName(text: string): string {
  return text
    .trim()
    .replace(/[^\x00-\x7f]/g, (letter) => LETTERS[letter] ?? letter)
    .normalize("NFKD")
    .replace(/\p{M}/gu, "")
    .replace(/['’]/g, "")
    .replace(/[^A-Za-z0-9_]+/g, "-")
    .slice(0, 64)
    .replace(/^-+|-+$/g, "");
}

/** A name of the wire as people write it: "Zoe-Muller" becomes "Zoe Muller". */
export function shown(name: string): string {
  return name.replace(/[-_]+/g, " ").trim() || name;
}

/** A name for somebody who gave none. `random` is in 0..1. */
export function guestName(random: number): string {
  return `Guest-${1000 + Math.floor(random * 9000)}`;
}
