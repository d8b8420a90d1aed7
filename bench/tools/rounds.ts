/** Figures of repeated measurements. */

/** Median, least and most of some numbers; medians of even counts are the upper one. */
export interface Spread {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  return { median: sorted[sorted.length >> 1]!, least: sorted[0]!, most: sorted.at(-1)! };
}

/** `431 (420 to 440)`, with `digits` behind the point. */
export function show({ median, least, most }: Spread, digits = 0): string {
  return `${median.toFixed(digits)} (${least.toFixed(digits)} to ${most.toFixed(digits)})`;
}

/** Prints `lines`, or `figures` as one line of JSON when asked for. */
export function report(asJson: boolean, figures: object, lines: readonly string[]): void {
  console.log(asJson ? JSON.stringify(figures) : lines.join('\n'));
}
