/** The clock of the machine. */
import type { Clock } from '../base/clock.ts';
import { VarveError } from '../base/errors.ts';

// A longer timer fires at once.
const timerMsMax = 2 ** 31 - 1;

/** Real time. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  async sleep(ms, signal, isAwaited) {
    let left = ms;
    do {
      const part = Math.min(left, timerMsMax);
      await timer(part, signal, isAwaited === true);
      left -= part;
    } while (left > 0);
  },
  turn: () => new Promise((resolve) => setImmediate(resolve)),
  keepAlive() {
    const handle = setInterval(() => undefined, timerMsMax);
    return () => clearInterval(handle);
  },
};

function timer(ms: number, signal: AbortSignal | undefined, isAwaited: boolean): Promise<void> {
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
    if (!isAwaited) handle.unref();
    if (signal?.aborted) abort();
    else signal?.addEventListener('abort', abort, { once: true });
  });
}
