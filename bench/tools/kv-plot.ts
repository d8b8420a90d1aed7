/** The comparison as an SVG: bars by row, each as a share of the row's best system. */
import { type Cells, showFigure } from './kv-table.ts';

const colours = ['#0b7a75', '#c8553d', '#588157', '#5e548e', '#bc6c25'];
const left = 300;
const barWidth = 420;
const barHeight = 13;
const rowGap = 16;
const top = 56;

/**
 * A bar as long as the row's axis is the best median; the thin line on it reaches from the least to the most
 * of the rounds. Rows whose unit is better when lower are drawn by their inverse, so that longer is better.
 */
export function plotOf(cells: readonly Cells[], systems: readonly string[], title: string): string {
  const parts: string[] = [];
  let y = top;
  for (const cell of cells) {
    const present = systems.filter((system) => cell.spreads[system] !== undefined);
    parts.push(text(left - 12, y + (present.length * barHeight) / 2 + 4, cell.row.title, 'end'));
    for (const system of present) {
      parts.push(bar(cell, system, colours[systems.indexOf(system) % colours.length]!, y));
      y += barHeight;
    }
    y += rowGap;
  }
  const width = left + barWidth + 200;
  const legend = systems.map((system, i) => {
    const x = left + i * 130;
    const box = rect(x, 32, 10, 10, colours[i % colours.length]!);
    return `${box}\n${text(x + 15, 41, system)}`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${y}" viewBox="0 0 ${width} ${y}"`,
    '  font-family="system-ui, sans-serif" font-size="12" fill="#222">',
    rect(0, 0, width, y, '#ffffff'),
    text(16, 22, title),
    ...legend,
    ...parts,
    '</svg>',
    '',
  ].join('\n');
}

function bar({ row, spreads }: Cells, system: string, colour: string, y: number): string {
  const goodness = (value: number): number => (row.unit === '/s' ? value : 1 / value);
  const best = Math.max(...Object.values(spreads).map(({ median }) => goodness(median)));
  const { median, least, most } = spreads[system]!;
  const x = (value: number): number => left + Math.min(1.1, goodness(value) / best) * barWidth;
  const middle = y + barHeight / 2;
  const label = `${showFigure(median)} ${row.unit}`;
  return [
    rect(left, y + 1, Math.max(1, x(median) - left), barHeight - 2, colour),
    `<path d="M${x(least).toFixed(1)} ${middle}H${x(most).toFixed(1)}" stroke="#222" stroke-width="1"/>`,
    text(Math.max(x(median), x(most), x(least)) + 6, y + barHeight - 3, label),
  ].join('\n');
}

function rect(x: number, y: number, width: number, height: number, fill: string): string {
  return `<rect x="${x}" y="${y}" width="${width.toFixed(1)}" height="${height}" fill="${fill}"/>`;
}

function text(x: number, y: number, content: string, anchor: 'start' | 'end' = 'start'): string {
  const escaped = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}">${escaped}</text>`;
}
