/** Columns and rows of a grid. */
export interface Grid {
  columns: number;
  rows: number;
}

/**
 * The grid in which `count` pictures of 16:9 get the largest in a stage of `width` by `height` pixels.
 * At least one column and one row, even for nobody or an unknown size.
 */
export function gridFor(count: number, width: number, height: number): Grid {
  let best: Grid = { columns: 1, rows: Math.max(1, count) };
  let largest = 0;
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns);
    const picture = Math.min(width / columns, (height / rows) * (16 / 9));
    if (picture > largest) {
      largest = picture;
      best = { columns, rows };
    }
  }
  return best;
}
