/** The report of tune() as one page: style, plots and table are in it, nothing is loaded. Pure. */
import { barPlot, escapeText, linePlot, type Series, shortNumber } from './plots.ts';
import { sizeName } from './size-name.ts';
import type { TuneReport, TuneResult } from './tune-types.ts';

const style = `
:root { color-scheme: light dark; --bg: #fbfbfa; --ink: #1c2024; --soft: #667; --grid: #d9dce0;
--card: #fff; --c0: #2563eb; --c1: #d97706; --c2: #059669; --c3: #9333ea; --c4: #dc2626; --c5:
#0891b2; } @media (prefers-color-scheme: dark) { :root { --bg: #14171a; --ink: #e8eaed; --soft:
#9aa3ad; --grid: #2f353b; --card: #1b1f23; --c0: #6ea0ff; --c1: #f5a742; --c2: #3ecf9a; --c3:
#c084fc; --c4: #f87171; --c5: #38bdf8; } } body { margin: 0 auto; max-width: 1180px; padding: 2rem
1.25rem 4rem; background: var(--bg); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; } h1 {
font-size: 1.5rem; margin: 0 0 .25rem; } small, .soft { color: var(--soft); } .pick { background:
var(--card); border: 1px solid var(--grid); border-left: 4px solid var(--c2); border-radius: 8px;
padding: 1rem 1.25rem; margin: 1.5rem 0; } code { font: .9em ui-monospace, monospace; overflow-wrap:
anywhere; } .plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px),
1fr)); gap: 1rem; } figure { margin: 0; background: var(--card); border: 1px solid var(--grid);
border-radius: 8px; padding: 1rem; } svg { width: 100%; height: auto; } .grid { stroke: var(--grid);
} .tick { fill: var(--soft); font-size: 12px; } polyline.line { fill: none; stroke-width: 2.5;
stroke-linejoin: round; } polyline.dashed { stroke-dasharray: 7 6; } @media (max-width: 600px) {
.tick { font-size: 17px; } } .legend
span { margin-right: 1.25rem; font-size: .85rem; color: var(--soft); } .legend i { display:
inline-block; width: .75rem; height: .75rem; border-radius: 2px; margin-right: .4rem; } .wide {
overflow-x: auto; margin-top: 1.5rem; } table { border-collapse: collapse; width: 100%; font-size:
.9rem; } th, td { text-align: right; padding: .4rem .6rem; border-bottom: 1px solid var(--grid);
white-space: nowrap; } th:first-child, td:first-child { text-align: left; } tr.chosen { font-weight:
600; background: var(--card); }
`;

const colours = Array.from(
  { length: 6 },
  (_, n) => `.s${n} { fill: var(--c${n}); stroke: var(--c${n}); } .b${n} { background: var(--c${n}); }`,
).join('\n');

/** The page. `title` is shown as it is given. */
export function reportHtml(report: TuneReport, title: string): string {
  const { results, recommended, logicalBytes, files, sampled, versions } = report;
  const share = sampled < 1 ? `, ${(100 * sampled).toFixed(1)} % of what was given` : '';
  const many = versions > 1 ? `, ${versions} versions` : '';
  const about = `${files} files, ${shortNumber(logicalBytes)}B${share}${many}`;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeText(title)}</title><style>${style}${colours}</style></head><body>
<h1>${escapeText(title)}</h1><p class="soft">${escapeText(about)}</p>
<div class="pick"><p>${escapeText(recommended.reason)}</p><code>${escapeText(recommended.option)}</code></div>
<div class="plots">${plotsOf(report).join('\n')}</div>
<div class="wide"><table><thead><tr>${headsOf(results[0]!).map(head).join('')}</tr></thead>
<tbody>${results.map((one) => row(one, isChosen(one, report))).join('\n')}</tbody></table></div>
</body></html>
`;
}

const head = (name: string): string => `<th>${escapeText(name)}</th>`;

function headsOf({ compressed }: TuneResult): string[] {
  const codecs = compressed.map(({ codec }) => codec);
  const costs = ['stored', 'overhead', 'new chunks', 'per edit', 'memory/TB'];
  return ['chunks', 'mean', 'dedup', ...codecs, ...costs, 'cut/s', 'with SHA-256/s'];
}

function isChosen({ algorithm, avg }: TuneResult, { recommended }: TuneReport): boolean {
  return algorithm === recommended.algorithm && avg === recommended.avg;
}

function row(one: TuneResult, chosen: boolean): string {
  const { algorithm, avg, uniqueBytes, uniqueChunks, bytesPerEdit } = one;
  const cells = [
    `${algorithm} ${sizeName(avg)}`,
    shortNumber(uniqueChunks === 0 ? 0 : uniqueBytes / uniqueChunks),
    one.dedupRatio.toFixed(3),
    ...one.compressed.map(({ ratio }) => ratio.toFixed(2)),
    `${shortNumber(one.storedBytes)}B`,
    `${shortNumber(one.overheadBytes)}B`,
    shortNumber(uniqueChunks),
    bytesPerEdit === undefined ? '' : `${shortNumber(bytesPerEdit)}B`,
    `${shortNumber(one.memoryPerTB)}B`,
    `${shortNumber(one.chunkRate)}B`,
    `${shortNumber(one.hashedRate)}B`,
  ];
  const shown = cells.map((text) => `<td>${escapeText(text)}</td>`).join('');
  return `<tr${chosen ? ' class="chosen"' : ''}>${shown}</tr>`;
}

function plotsOf(report: TuneReport): string[] {
  const { results, versions } = report;
  const sizes = Array.from(new Set(results.map(({ avg }) => avg))).sort((a, b) => a - b);
  const labels = sizes.map(sizeName);
  const algorithms = Array.from(new Set(results.map(({ algorithm }) => algorithm)));
  const bySize = (value: (one: TuneResult) => number | undefined): Series[] =>
    algorithms.map((name) => ({
      name,
      values: sizes.map((avg) => {
        const one = results.find((result) => result.algorithm === name && result.avg === avg);
        return one === undefined ? undefined : value(one);
      }),
    }));
  const logical = report.logicalBytes;
  const plots = [
    linePlot({
      title: 'What is kept of a byte',
      unit: 'bytes read for each byte stored, overhead counted',
      labels,
      series: bySize(({ storedBytes }) => logical / storedBytes),
    }),
    barPlot({
      title: 'Rate on one thread',
      unit: 'bytes a second, cut and hashed with SHA-256',
      labels,
      series: bySize(({ hashedRate }) => hashedRate),
    }),
    linePlot({
      title: 'Memory for a terabyte',
      unit: 'bytes of filters and indexes',
      labels,
      series: bySize(({ memoryPerTB }) => memoryPerTB),
    }),
    linePlot({
      title: 'A small edit',
      unit: 'bytes stored anew for each',
      labels,
      series: bySize(({ bytesPerEdit }) => bytesPerEdit),
    }),
    sizesPlot(report),
  ];
  if (versions > 1) plots.push(versionsPlot(report));
  return plots;
}

/** How long the chunks are, for the algorithm that is recommended. */
function sizesPlot({ results, recommended }: TuneReport): string {
  const shown = results.filter(({ algorithm }) => algorithm === recommended.algorithm).slice(0, 6);
  const froms = Array.from(new Set(shown.flatMap(({ histogram }) => histogram.map(({ from }) => from))));
  froms.sort((a, b) => a - b);
  return linePlot({
    title: `Lengths of chunks, ${recommended.algorithm}`,
    unit: '% of the chunks, from this length up to twice it',
    labels: froms.map(sizeName),
    series: shown.map(({ avg, histogram, chunks }) => ({
      name: sizeName(avg),
      values: froms.map(
        (from) => (100 * (histogram.find((one) => one.from === from)?.chunks ?? 0)) / Math.max(1, chunks),
      ),
    })),
  });
}

function versionsPlot({ results, recommended, versions }: TuneReport): string {
  const shown = results.filter(({ algorithm }) => algorithm === recommended.algorithm).slice(0, 6);
  return linePlot({
    title: 'Stored after each version',
    unit: 'bytes, overhead counted',
    labels: Array.from({ length: versions }, (_, n) => String(n + 1)),
    series: shown.map(({ avg, afterVersion }) => ({
      name: sizeName(avg),
      values: afterVersion.map(({ storedBytes }) => storedBytes),
    })),
  });
}
