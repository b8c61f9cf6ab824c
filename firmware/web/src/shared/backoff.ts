/**
 * How long to wait before the next try to reach a service, in ms.
 *
 * It doubles from 250 ms up to `longest`; a quarter of it is random, so that a building full of pages does not
 * return in one moment. `tries` counts the tries that failed so far (0 for the first wait), `random` is in 0..1.
 */
export function retryDelay(tries: number, random: number, longest = 2000): number {
  const base = Math.min(250 * 2 ** Math.min(tries, 16), longest);
  return Math.round(base * (0.75 + 0.25 * random));
}
