/** Plots as SVG text, for a page that opens without a network. Colours are those of the page. Pure. */

/** One line or group of bars. `values` go with the labels; undefined leaves a gap. */
export interface Series {
  readonly name: string;
  readonly values: readonly (number | undefined)[];
}

export interface Plot {
  readonly title: string;
  /** What the numbers are, below the title. */
  readonly unit: string;
  readonly labels: readonly string[];
  readonly series: readonly Series[];
}

const width = 560;
const height = 300;
const margin = { left: 64, right: 16, top: 16, bottom: 40 };
const steps = 4;
/** Times a power of ten. */
const niceTops = [1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8];

/** Text for HTML and SVG: nothing in it is taken for markup, and what cannot be shown is replaced. */
export function escapeText(text: string): string {
  return text.replace(/\p{Cc}/gu, '\ufffd').replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}

/** A number for people: three digits that count, with k, M and G. */
export function shortNumber(value: number): string {
  for (const [name, unit] of [
    ['G', 1e9],
    ['M', 1e6],
    ['k', 1e3],
  ] as const) {
    if (value >= unit) return `${digits(value / unit)}${name}`;
  }
  return digits(value);
}

function digits(value: number): string {
  if (value === 0) return '0';
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** Lines over the labels; from 0 up. */
export function linePlot(plot: Plot): string {
  const { top, x, y } = scalesOf(plot);
  const lines = plot.series.map(({ values, name }, s) => {
    const points = values.flatMap((value, i) => (value === undefined ? [] : [`${x(i)},${y(value)}`]));
    const dots = values.map((value, i) =>
      value === undefined
        ? ''
        : `<circle class="s${s}" cx="${x(i)}" cy="${y(value)}" r="4"><title>` +
          `${escapeText(`${name}, ${plot.labels[i]}: ${shortNumber(value)}`)}</title></circle>`,
    );
    // Of two lines that lie on each other both are seen.
    const drawn = s === 1 && plot.series.length === 2 ? 'line dashed' : 'line';
    return `<polyline class="s${s} ${drawn}" points="${points.join(' ')}"/>${dots.join('')}`;
  });
  return figure(plot, top, x, y, lines.join(''));
}

/** Bars side by side over the labels; from 0 up. */
export function barPlot(plot: Plot): string {
  const { top, x, y, room } = scalesOf(plot);
  const each = (room * 0.8) / plot.series.length;
  const bars = plot.series.flatMap(({ values, name }, s) =>
    values.map((value, i) => {
      if (value === undefined) return '';
      const left = x(i) - room * 0.4 + s * each;
      const title = escapeText(`${name}, ${plot.labels[i]}: ${shortNumber(value)}`);
      const tall = Math.max(0, y(0) - y(value));
      const box = `x="${round(left)}" y="${y(value)}" width="${round(each * 0.92)}" height="${round(tall)}"`;
      return `<rect class="s${s}" ${box}><title>${title}</title></rect>`;
    }),
  );
  return figure(plot, top, x, y, bars.join(''));
}

interface Scales {
  /** Highest number on the axis. */
  readonly top: number;
  readonly room: number;
  readonly x: (i: number) => number;
  readonly y: (value: number) => number;
}

function scalesOf({ labels, series }: Plot): Scales {
  const most = Math.max(0, ...series.flatMap(({ values }) => values.map((value) => value ?? 0)));
  const top = niceTop(most);
  const room = (width - margin.left - margin.right) / Math.max(1, labels.length);
  const tall = height - margin.top - margin.bottom;
  return {
    top,
    room,
    x: (i) => round(margin.left + room * (i + 0.5)),
    y: (value) => round(height - margin.bottom - (tall * value) / top),
  };
}

/** The least number that four steps divide well and that is not below `most`. */
function niceTop(most: number): number {
  if (most <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return power * (niceTops.find((n) => n * power >= most) ?? 10);
}

function figure(plot: Plot, top: number, x: Scales['x'], y: Scales['y'], body: string): string {
  const grid = Array.from({ length: steps + 1 }, (_, n) => {
    const value = (top * n) / steps;
    const at = y(value);
    return (
      `<line class="grid" x1="${margin.left}" x2="${width - margin.right}" y1="${at}" y2="${at}"/>` +
      `<text class="tick" x="${margin.left - 8}" y="${at + 4}" text-anchor="end">${shortNumber(value)}</text>`
    );
  });
  const every = Math.ceil(plot.labels.length / 8);
  const names = plot.labels.map((label, i) =>
    i % every === 0
      ? `<text class="tick" x="${x(i)}" y="${height - 20}" text-anchor="middle">` +
        `${escapeText(label)}</text>`
      : '',
  );
  const legend = plot.series.map(({ name }, s) => `<span><i class="b${s}"></i>${escapeText(name)}</span>`);
  return (
    `<figure><figcaption><b>${escapeText(plot.title)}</b> ` +
    `<small>${escapeText(plot.unit)}</small></figcaption>` +
    `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeText(plot.title)}">` +
    `${grid.join('')}${names.join('')}${body}</svg><div class="legend">${legend.join('')}</div></figure>`
  );
}

const round = (value: number): number => Math.round(value * 100) / 100;
