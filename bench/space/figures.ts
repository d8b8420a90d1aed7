/** What bench/space.ts measures, and how it is shown. */

/** A scan of the chunk tree; the best of four, by CPU time. */
export interface ScanFigure {
  readonly entries: number;
  /** Sorted runs of tables that the entries are spread over. */
  readonly runs: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
}

/** Work over the bytes of a store, in a process of its own. */
export interface WorkFigure {
  readonly what: string;
  /** Bytes of content the store was made with. */
  readonly storeBytes: number;
  /** Bytes the work is counted in: copied, checked, or of the store. */
  readonly bytes: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
  /** Most resident memory less what was resident before the work, bytes. */
  readonly grownBytes: number;
  /** Of them, in budgets of the engine that were emptier before: at most; 0 where nobody looked. */
  readonly budgetedBytes: number;
}

/** Latencies of puts, ms. */
export interface PutFigure {
  readonly what: string;
  readonly puts: number;
  readonly p50: number;
  readonly p99: number;
  readonly worst: number;
}

/** A figure that should stay flat or below a bound. */
export interface TrendFigure {
  readonly what: string;
  readonly first: number;
  readonly last: number;
  readonly unit: string;
}

export type Figure =
  | { readonly kind: 'scan'; readonly figure: ScanFigure }
  | { readonly kind: 'work'; readonly figure: WorkFigure }
  | { readonly kind: 'puts'; readonly figure: PutFigure }
  | { readonly kind: 'trend'; readonly figure: TrendFigure };

const seconds = (wall: number, cpu: number): string => `${wall.toFixed(2)} s (${cpu.toFixed(2)} s of CPU)`;
const mib = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`;

/** One line for a person. MB are 10^6 bytes. */
export function lineOf(one: Figure): string {
  if (one.kind === 'scan') {
    const { entries, runs, seconds: wall, cpuSeconds } = one.figure;
    const rate = (entries / cpuSeconds / 1e6).toFixed(1);
    const took = `${seconds(wall, cpuSeconds)}, ${rate} M a CPU second`;
    return `liveness scan, ${entries} entries in ${runs} runs: ${took}`;
  }
  if (one.kind === 'puts') {
    const { what, puts, p50, p99, worst } = one.figure;
    const times = `p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms, worst ${worst.toFixed(1)} ms`;
    return `${what}: ${puts} puts, ${times}`;
  }
  if (one.kind === 'trend') {
    const { what, first, last, unit } = one.figure;
    return `${what}: ${first.toFixed(2)} ${unit} at first, ${last.toFixed(2)} ${unit} at last`;
  }
  const { what, storeBytes, bytes, seconds: wall, cpuSeconds, grownBytes, budgetedBytes } = one.figure;
  const rate = `${(bytes / 1e6 / wall).toFixed(0)} MB/s`;
  const cpuRate = `(${(bytes / 1e6 / cpuSeconds).toFixed(0)} MB a CPU second)`;
  const budgets = budgetedBytes > 0 ? `, ${mib(budgetedBytes)} of it in budgets of the engine` : '';
  return (
    `${what}, store of ${mib(storeBytes)}: ${mib(bytes)} in ${seconds(wall, cpuSeconds)}, ` +
    `${rate} ${cpuRate}, memory +${mib(grownBytes)}${budgets}`
  );
}
