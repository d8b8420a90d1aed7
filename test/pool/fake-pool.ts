/** A pool without threads: answers in any order, dies, hangs or lies, as a seed says. */
import type { Prng } from '../../src/base/prng.ts';
import type { CutResult, HashResult, PoolTask, ResultOf, WorkPool } from '../../src/pool/port.ts';
import { runTask } from '../../src/pool/run-task.ts';
import { turn } from '../engine/engine-kit.ts';

/** Chances in a hundred. */
export interface Faults {
  readonly dies?: number;
  readonly hangs?: number;
  readonly lies?: number;
}

export class FakePool implements WorkPool {
  readonly size: number;
  readonly #prng: Prng;
  readonly #faults: Faults;
  underWay = 0;
  underWayMax = 0;
  runs = 0;
  closed = false;
  isWarm = true;

  constructor(size: number, prng: Prng, faults: Faults = {}) {
    this.size = size;
    this.#prng = prng;
    this.#faults = faults;
  }

  async run<T extends PoolTask>(task: T, signal: AbortSignal): Promise<ResultOf<T>> {
    this.runs++;
    this.underWayMax = Math.max(this.underWayMax, ++this.underWay);
    try {
      return await this.#run(task, signal);
    } finally {
      this.underWay--;
    }
  }

  async close(): Promise<void> {
    this.closed = true;
  }

  async #run<T extends PoolTask>(task: T, signal: AbortSignal): Promise<ResultOf<T>> {
    const { dies = 0, hangs = 0, lies = 0 } = this.#faults;
    for (let turns = this.#prng.below(6); turns > 0; turns--) await turn();
    const fate = this.#prng.below(100);
    if (fate < dies) throw new Error('the thread died');
    if (fate < dies + hangs) {
      signal.throwIfAborted();
      return await new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason));
      });
    }
    const result = runTask(task);
    return fate < dies + hangs + lies ? (lied(result, this.#prng) as ResultOf<T>) : result;
  }
}

/** Something a thread could only answer by mistake. */
function lied(result: CutResult | HashResult, prng: Prng): CutResult | HashResult {
  const ids = result.ids.subarray(32);
  if (!('ends' in result) || result.ends.length === 0) return { ids: new Uint8Array(result.ids.length + 32) };
  const { ends } = result;
  const lies: CutResult[] = [
    { ends, ids },
    { ends: ends.map((end) => end + 100_000), ids: result.ids },
    { ends: ends.toReversed().map((end) => end + 1), ids: result.ids },
  ];
  return ends.length === 1 ? lies[prng.below(2)]! : lies[prng.below(3)]!;
}
