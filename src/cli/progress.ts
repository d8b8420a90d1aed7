/** Progress on stderr: a bar where it is a terminal, nothing elsewhere and with --json. */
import { type CliIo, columnsOf, isTerminal } from './io.ts';
import { countText, sizeText } from './text.ts';

/** How far a long operation is. Rates are averages since it began. */
export interface Progress {
  readonly phase: string;
  readonly done: number;
  /** Undefined while it is not known. */
  readonly total: number | undefined;
  readonly unit: 'bytes' | 'files' | 'keys' | 'steps';
  /** 0 where bytes are not what is counted. */
  readonly bytesPerSecond: number;
  readonly files: number;
}

/** Called often; the receiver decides how often to show it. */
export type OnProgress = (progress: Progress) => void;

/** Shows progress; `stop` takes the bar away and must be called before anything else is printed. */
export interface ProgressView {
  readonly update: OnProgress;
  stop(): void;
}

const redrawMs = 100;

/** A bar on a terminal, silence otherwise; the package that draws bars is loaded for one. */
export async function progressView(io: CliIo, quiet: boolean): Promise<ProgressView> {
  if (quiet || !isTerminal(io.stderr)) return { update: () => undefined, stop: () => undefined };
  return await barView(io);
}

async function barView(io: CliIo): Promise<ProgressView> {
  const { default: cliProgress } = await import('cli-progress');
  const width = Math.max(10, Math.min(30, columnsOf(io.stderr) - 60));
  const bar = new cliProgress.SingleBar(
    {
      format: '{phase} {bar} {share} {amount} {files} {rate} {left}',
      barsize: width,
      hideCursor: true,
      clearOnComplete: true,
      stream: io.stderr as NodeJS.WritableStream,
      fps: 10,
      gracefulExit: false,
    },
    cliProgress.Presets.shades_classic,
  );
  let started = false;
  let shownAt = 0;
  return {
    update(progress) {
      const now = performance.now();
      if (started && now - shownAt < redrawMs) return;
      shownAt = now;
      const fields = progressFields(progress);
      if (!started) bar.start(progress.total ?? 1, 0, fields);
      started = true;
      bar.setTotal(Math.max(1, progress.total ?? progress.done));
      bar.update(progress.total === undefined ? 0 : Math.min(progress.done, progress.total), fields);
    },
    stop() {
      if (started) bar.stop();
      started = false;
    },
  };
}

function progressFields(progress: Progress): Record<string, string> {
  const { phase, done, total, unit, files, bytesPerSecond } = progress;
  const show = unit === 'bytes' ? sizeText : countText;
  const share =
    total === undefined || total === 0 ? '' : `${Math.floor((100 * Math.min(done, total)) / total)} %`;
  return {
    phase: phase.padEnd(8),
    share,
    amount: total === undefined ? show(done) : `${show(done)} of ${show(total)}`,
    files: files === 0 ? '' : `${countText(files)} files`,
    rate: bytesPerSecond === 0 ? '' : `${sizeText(bytesPerSecond)}/s`,
    left: leftText(progress),
  };
}

/** The time the rest takes at the rate so far: `40 s left`, `12 min left`, `3 h left`; '' while not known. */
export function leftText({ done, total, unit, bytesPerSecond }: Progress): string {
  if (unit !== 'bytes' || total === undefined || done >= total || bytesPerSecond <= 0) return '';
  const seconds = Math.ceil((total - done) / bytesPerSecond);
  if (seconds < 100) return `${seconds} s left`;
  const minutes = Math.round(seconds / 60);
  return minutes < 100 ? `${minutes} min left` : `${Math.round(minutes / 60)} h left`;
}

/** Plain lines for logs: one every few seconds, where stderr is no terminal. */
export function lineView(write: (line: string) => void, everyMs: number): ProgressView {
  let shownAt = performance.now();
  return {
    update(progress) {
      const now = performance.now();
      if (now - shownAt < everyMs) return;
      shownAt = now;
      const { phase, share, amount, files, rate, left } = progressFields(progress);
      write([phase!.trim(), share, amount, files, rate, left].filter((part) => part !== '').join('  '));
    },
    stop: () => undefined,
  };
}

/** Measures the rate for progress reports. */
export class Meter {
  readonly #onProgress: OnProgress | undefined;
  readonly #startedAt = performance.now();
  readonly #phase: string;
  #total: number | undefined;
  bytes = 0;
  files = 0;

  constructor(phase: string, total: number | undefined, onProgress: OnProgress | undefined) {
    this.#phase = phase;
    this.#total = total;
    this.#onProgress = onProgress;
  }

  add(bytes: number): void {
    this.bytes += bytes;
    this.#report();
  }

  /** Bytes that were counted in the total and need not be done. */
  skip(bytes: number): void {
    if (this.#total !== undefined) this.#total = Math.max(0, this.#total - bytes);
    this.#report();
  }

  addFile(): void {
    this.files++;
    this.#report();
  }

  /** Seconds since it was made. */
  get seconds(): number {
    return (performance.now() - this.#startedAt) / 1000;
  }

  #report(): void {
    if (this.#onProgress === undefined) return;
    const seconds = this.seconds;
    this.#onProgress({
      phase: this.#phase,
      done: this.bytes,
      total: this.#total,
      unit: 'bytes',
      bytesPerSecond: seconds === 0 ? 0 : this.bytes / seconds,
      files: this.files,
    });
  }
}
