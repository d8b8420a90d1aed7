/** The comparison as a table: medians, spread, and how Varve stands against each peer. */
import type { Row } from './kv-rows.ts';
import { type Spread, spreadOf } from './rounds.ts';

/** One row with what each system measured. */
export interface Cells {
  readonly row: Row;
  /** By system; one that has no figure is not there. */
  readonly spreads: Readonly<Record<string, Spread>>;
  /** By peer: how many times better than it the first system is; above 1 is better, whatever the unit. */
  readonly ratios: Readonly<Record<string, number>>;
  /** Ratio to the best peer, undefined where no peer has a figure. */
  readonly toBest: number | undefined;
}

/** The figures of all rounds, by system and row, as cells. The first of `systems` is the one compared. */
export function cellsOf(
  rows: readonly Row[],
  systems: readonly string[],
  figures: Readonly<Record<string, Readonly<Record<string, readonly number[]>>>>,
): Cells[] {
  const cells: Cells[] = [];
  for (const row of rows) {
    const spreads: Record<string, Spread> = {};
    for (const system of systems) {
      const values = figures[system]?.[row.name];
      if (values !== undefined && values.length > 0) spreads[system] = spreadOf(values);
    }
    if (Object.keys(spreads).length > 0) cells.push({ row, spreads, ...compare(row, systems, spreads) });
  }
  return cells;
}

function compare(
  row: Row,
  [own, ...peers]: readonly string[],
  spreads: Readonly<Record<string, Spread>>,
): Pick<Cells, 'ratios' | 'toBest'> {
  const ratios: Record<string, number> = {};
  const ours = spreads[own!]?.median;
  for (const peer of peers) {
    const theirs = spreads[peer]?.median;
    if (ours === undefined || theirs === undefined) continue;
    ratios[peer] = row.unit === '/s' ? ours / theirs : theirs / ours;
  }
  const all = Object.values(ratios);
  return { ratios, toBest: all.length === 0 ? undefined : Math.min(...all) };
}

/** A Markdown table with aligned columns, one line of it per element. */
export function tableOf(cells: readonly Cells[], systems: readonly string[]): string[] {
  const [own, ...peers] = systems;
  const head = ['', 'unit', ...systems, ...peers.map((peer) => `${own} vs ${peer}`), 'vs best peer'];
  const body = cells.map(({ row, spreads, ratios, toBest }) => [
    row.title,
    row.unit,
    ...systems.map((system) => showSpread(spreads[system])),
    ...peers.map((peer) => showRatio(ratios[peer])),
    showRatio(toBest),
  ]);
  return aligned(head, body);
}

/** Median and, where there was more than one round, least and most. */
export function showSpread(spread: Spread | undefined): string {
  if (spread === undefined) return '-';
  const { median, least, most } = spread;
  if (least === most) return showFigure(median);
  return `${showFigure(median)} (${showFigure(least)} to ${showFigure(most)})`;
}

/** Three digits and the thousands as `k` or `M`. */
export function showFigure(value: number): string {
  if (value >= 999_500) return `${digits(value / 1e6)} M`;
  if (value >= 9995) return `${digits(value / 1e3)} k`;
  return digits(value);
}

const digits = (value: number): string => value.toFixed(value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2);
const showRatio = (ratio: number | undefined): string => (ratio === undefined ? '-' : `${digits(ratio)}x`);

function aligned(head: readonly string[], body: readonly (readonly string[])[]): string[] {
  const widths = head.map((name, i) => Math.max(3, name.length, ...body.map((cells) => cells[i]!.length)));
  const pad = (cell: string, i: number): string =>
    i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!);
  const line = (cells: readonly string[]): string => `| ${cells.map(pad).join(' | ')} |`;
  const rules = widths.map((width, i) => (i === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`));
  return [line(head), `|${rules.join('|')}|`, ...body.map(line)];
}
