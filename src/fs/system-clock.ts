/** The clock of the machine. */
import type { Clock } from '../base/clock.ts';
import { VarveError } from '../base/errors.ts';

// A longer timer fires at once.
const timerMsMax = 2 ** 31 - 1;

/** Real time. Its timers do not keep the process alive. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  async sleep(ms, signal) {
    let left = ms;
    do {
      const part = Math.min(left, timerMsMax);
      await timer(part, signal);
      left -= part;
    } while (left > 0);
  },
  turn: () => new Promise((resolve) => setImmediate(resolve)),
};

function timer(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      clearTimeout(handle);
      const cause: unknown = signal?.reason;
      reject(new VarveError('VARVE_ABORTED', 'waiting was aborted', { cause }));
    };
    const handle = setTimeout(() => {
      signal?.removeEventListener('abort', abort);
      resolve();
    }, ms);
    handle.unref();
    if (signal?.aborted) abort();
    else signal?.addEventListener('abort', abort, { once: true });
  });
}
