/** What rounds of an ingest bench come to, and how it is shown. */
import { type Spread, show, spreadOf } from '../tools/rounds.ts';
import type { Spent } from './run-program.ts';

/** What one system took for one directory, and bytes of the repository after the first time. */
export interface Round {
  readonly first: Spent;
  readonly again: Spent;
  readonly restore: Spent;
  readonly verify: Spent | undefined;
  readonly stored: number;
}

const steps = ['first', 'again', 'restore', 'verify'] as const;
type Step = (typeof steps)[number];

/** MB/s of the machine. */
export interface Limits {
  readonly sha256: number;
  readonly memoryCopy: number;
  readonly diskWrite: number;
}

/** One step of one system. */
export interface StepFigures {
  /** MB/s of the source. */
  readonly rate: Spread;
  /** Median; undefined where the system does not tell. */
  readonly cpuSeconds?: number | undefined;
}

export interface SystemFigures extends Readonly<Partial<Record<Step, StepFigures>>> {
  readonly system: string;
  readonly ratio: number;
  /** Over all steps and rounds; undefined where the system does not tell. */
  readonly peakMiB: number | undefined;
}

/** Rates of one of ours over the best of the peers. */
export interface Comparison {
  readonly system: string;
  readonly peer: string;
  readonly step: Step;
  readonly times: number;
}

export interface Figures {
  readonly bytes: number;
  readonly limits: Limits;
  readonly found: readonly SystemFigures[];
  readonly against: readonly Comparison[];
}

/** The median of each. */
export function limitsOf(limits: readonly Limits[]): Limits {
  const median = (of: (one: Limits) => number): number => spreadOf(limits.map(of)).median;
  return {
    sha256: median(({ sha256 }) => sha256),
    memoryCopy: median(({ memoryCopy }) => memoryCopy),
    diskWrite: median(({ diskWrite }) => diskWrite),
  };
}

/** `bytes` of source; each system has at least one round. */
export function figuresOf(
  bytes: number,
  limits: Limits,
  taken: readonly { readonly name: string; readonly isPeer: boolean; readonly rounds: readonly Round[] }[],
): Figures {
  const found = taken.map(({ name, rounds }) => systemFigures(name, bytes, rounds));
  const peers = found.filter((_, i) => taken[i]!.isPeer);
  const ours = found.filter((_, i) => !taken[i]!.isPeer);
  return { bytes, limits, found, against: ours.flatMap((one) => comparisons(one, peers)) };
}

function systemFigures(system: string, bytes: number, rounds: readonly Round[]): SystemFigures {
  const ratio = bytes / rounds.at(-1)!.stored;
  const all = rounds.flatMap((round) => steps.map((step) => round[step])).filter((one) => one !== undefined);
  const peaks = all.map(({ peakMiB }) => peakMiB).filter((one) => one !== undefined);
  const peakMiB = peaks.length === 0 ? undefined : Math.max(...peaks);
  const figures = { system, ratio, peakMiB };
  for (const step of steps) {
    const spent = rounds.map((round) => round[step]).filter((one) => one !== undefined);
    if (spent.length === 0) continue;
    const rate = spreadOf(spent.map(({ seconds }) => bytes / seconds / 1e6));
    const cpu = spent.map(({ cpuSeconds }) => cpuSeconds).filter((one) => one !== undefined);
    const cpuSeconds = cpu.length === 0 ? undefined : spreadOf(cpu).median;
    Object.assign(figures, { [step]: { rate, cpuSeconds } satisfies StepFigures });
  }
  return figures;
}

function comparisons(one: SystemFigures, peers: readonly SystemFigures[]): Comparison[] {
  return steps.flatMap((step) => {
    const rate = one[step]?.rate.median;
    let best: { readonly peer: string; readonly rate: number } | undefined;
    for (const peer of peers) {
      const theirs = peer[step]?.rate.median;
      if (theirs !== undefined && theirs > (best?.rate ?? 0)) best = { peer: peer.system, rate: theirs };
    }
    if (rate === undefined || best === undefined) return [];
    return [{ system: one.system, peer: best.peer, step, times: rate / best.rate }];
  });
}

/** For people. */
export function linesOf({ bytes, limits, found, against }: Figures): string[] {
  const rate = (mbs: number): string => `${mbs.toFixed(0)} MB/s`;
  return [
    `  ${(bytes / 1e6).toFixed(0)} MB; limits: SHA-256 of all cores ${rate(limits.sha256)}, ` +
      `memory copy ${rate(limits.memoryCopy)}, disk write and fsync ${rate(limits.diskWrite)}`,
    ...found.flatMap((one) => systemLines(one, limits)),
    ...found.flatMap(({ system }) => comparisonLine(system, against)),
  ];
}

function systemLines(one: SystemFigures, limits: Limits): string[] {
  const { system, again, ratio, peakMiB } = one;
  const rates = steps.flatMap((step) => {
    const figures = one[step];
    return figures === undefined ? [] : [`${step} ${show(figures.rate)}`];
  });
  const cpu = steps.flatMap((step) => one[step]?.cpuSeconds?.toFixed(1) ?? []).join(', ');
  const share = again === undefined ? 0 : (100 * again.rate.median) / limits.sha256;
  const peak = peakMiB === undefined ? '' : `, peak ${peakMiB.toFixed(0)} MiB`;
  return [
    `  ${system.padEnd(15)} ${rates.join(', ')} MB/s`,
    `  ${''.padEnd(15)} again ${share.toFixed(0)} % of SHA-256, ratio ${ratio.toFixed(3)}` +
      `${cpu === '' ? '' : `, CPU ${cpu} s`}${peak}`,
  ];
}

function comparisonLine(system: string, against: readonly Comparison[]): string[] {
  const own = against.filter((one) => one.system === system);
  if (own.length === 0) return [];
  const parts = own.map(({ step, times, peer }) => `${step} ${times.toFixed(2)} x ${peer}`);
  return [`  ${system} is ${parts.join(', ')}`];
}
