// Ribbons from words to words. Python joins this file with a figure's own (see base.py); ribbons.py draws the same.

/**
 * Where each ribbon leaves and lands, in thousandths of the width. At the target its width is its weight,
 * so a row fills its chip; at the source it is the same, unless the columns that read it add up to more
 * than a chip.
 * @param {number[][]} weights
 */
export function ribbons(weights) {
  const n = weights.length, m = weights[0].length, columns = Math.max(n, m), pitch = 1000 / columns;
  const room = 0.76 * pitch; // the chip, less its rounded corners
  const left = (/** @type {number} */ i, /** @type {number} */ count) => ((columns - count) / 2 + i + 0.12) * pitch;
  const totals = weights[0].map((_, c) => weights.reduce((sum, row) => sum + row[c], 0));
  const used = weights[0].map(() => 0);
  return weights.map((row, r) => {
    let at = left(r, n);
    return row.map((w, c) => {
      const shrink = 1 / Math.max(1, totals[c]), from = left(c, m) + used[c] * room * shrink, to = at;
      used[c] += w;
      at += w * room;
      const [a, b, p, q] = [from, from + w * room * shrink, to, to + w * room].map((x) => x.toFixed(1));
      return `M${a} 0C${a} 55 ${p} 45 ${p} 100L${q} 100C${q} 45 ${b} 55 ${b} 0Z`;
    });
  });
}
