/**
 * Which snapshot or view holds how much: superseded values with chunks that only it, or it and others, still
 * let be read. One walk over the trash, in slices, of a bounded number of rows; the result is kept until the
 * next one.
 *
 * Invariants (test/engine/held-space.test.ts)
 * - Each holder's figures equal a search of all versions ("what snapshots and views hold equals a search").
 */
import type { Seq } from '../../base/brands.ts';
import { reapRowsMax } from '../../base/limits.ts';
import { spaceOf } from '../../format/internal-key.ts';
import { decodeQueueKey, trashPrefix } from '../../format/system-rows.ts';
import { isKept } from '../../tree/keep-rule.ts';
import { queueFrom, scanQueue } from '../background/queue-scan.ts';
import { refsOfVersion } from '../history/old-versions.ts';
import type { Store } from '../store.ts';
import type { HeldSpace, SpaceHolder } from './space-types.ts';

/** Rows of the trash that one walk looks at, at most. */
const rowsMax = 100_000;
/** Rows between two turns of the event loop. */
const sliceRows = Math.min(512, reapRowsMax);

type Named = Omit<SpaceHolder, 'versions' | 'bytes' | 'aloneBytes'>;

/** Everything that pins a number now, ascending; one entry for each pinned number. */
function holdersNow(store: Store): Named[] {
  const { marks, views, forest, visibleSeq } = store;
  const bySeq = new Map<Seq, Named>();
  for (const seq of marks.pinned) bySeq.set(seq, { by: 'reads', seq });
  for (const view of views.list()) {
    const { seq } = view.moment;
    bySeq.set(seq, { by: 'view', seq, ageMs: views.ageOf(view), openedAt: placeOf(view.openedAt) });
  }
  // What is named is told by its name, also where views of the same state are open.
  for (const { name, seq } of forest.history.snapshotsAt(visibleSeq))
    bySeq.set(seq, { by: 'snapshot', seq, name });
  return Array.from(bySeq.values()).sort((a, b) => a.seq - b.seq);
}

/** The first line of a stack that is the caller's. */
function placeOf(stack: string): string {
  const lines = stack
    .split('\n')
    .slice(1)
    .map((line) => line.trim());
  const own = lines.find((line) => !/[\\/](?:src|dist)[\\/](?:src[\\/])?engine[\\/]/.test(line));
  return own ?? lines.at(-1) ?? 'unknown';
}

/** Sums over ranges of holders: `add` costs nothing but two additions. */
class Sums {
  readonly #steps: Float64Array;

  constructor(count: number) {
    this.#steps = new Float64Array(count + 1);
  }

  add(from: number, to: number, amount: number): void {
    this.#steps[from]! += amount;
    this.#steps[to]! -= amount;
  }

  /** Of each holder. */
  *all(): Generator<number> {
    let sum = 0;
    for (const step of this.#steps) {
      sum += step;
      yield sum;
    }
  }
}

/** Walks the trash now; ends early, incomplete, where `isOver` says so. VARVE_CORRUPT, VARVE_IO. */
export async function measureHeld(store: Store, isOver: () => boolean): Promise<HeldSpace> {
  const { forest, parts } = store;
  const measuredSeq = store.visibleSeq;
  const holders = holdersNow(store);
  const versions = new Sums(holders.length);
  const bytes = new Sums(holders.length);
  const alone = new Float64Array(holders.length);
  const all = { versions: 0, bytes: 0, going: 0 };
  const rule = store.keepRule();
  let next: Uint8Array | undefined = queueFrom(trashPrefix, 0);
  for (let rows = 0; next !== undefined && rows < rowsMax && !isOver(); ) {
    const slice = await scanQueue(forest.system, trashPrefix, next, () => true, sliceRows);
    const view = forest.keys.view();
    try {
      const cursor = view.cursor();
      for (const key of slice.keys) {
        const { at, rowPrefix, seq } = decodeQueueKey(trashPrefix, key);
        const refs = await refsOfVersion(cursor, rowPrefix, seq);
        if (refs === undefined) continue;
        const from = firstFrom(holders, seq);
        const to = firstFrom(holders, at);
        all.versions++;
        all.bytes += refs.size;
        const space = spaceOf(rowPrefix, 0);
        if (!isKept(rule, space, seq, at, 0)) all.going += refs.size;
        versions.add(from, to, 1);
        bytes.add(from, to, refs.size);
        if (to - from === 1) alone[from]! += refs.size;
      }
    } finally {
      view.release();
    }
    rows += sliceRows;
    next = slice.next;
    await parts.env.clock.turn();
  }
  const [versionsOf, bytesOf] = [Array.from(versions.all()), Array.from(bytes.all())];
  const listed = holders.map((holder, i) => {
    return { ...holder, versions: versionsOf[i]!, bytes: bytesOf[i]!, aloneBytes: alone[i]! };
  });
  return {
    measuredSeq,
    complete: next === undefined,
    versions: all.versions,
    bytes: all.bytes,
    goingBytes: all.going,
    holders: listed
      .filter((holder) => holder.versions > 0)
      .sort((a, b) => b.aloneBytes - a.aloneBytes || b.bytes - a.bytes),
  };
}

/** Index of the first holder with a number at or above `seq`. */
function firstFrom(holders: readonly Named[], seq: Seq): number {
  let low = 0;
  let high = holders.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holders[middle]!.seq < seq) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The last walk, and the next one. */
export class HeldSpaceBook {
  readonly #store: Store;
  #last: HeldSpace | undefined;
  #running: Promise<void> | undefined;
  #isOver = false;

  constructor(store: Store) {
    this.#store = store;
  }

  get last(): HeldSpace | undefined {
    return this.#last;
  }

  /** Walks anew; calls at the same time share one walk. Errors as measureHeld. */
  async measure(): Promise<void> {
    this.#running ??= measureHeld(this.#store, () => this.#isOver)
      .then((held) => {
        this.#last = held;
      })
      .finally(() => {
        this.#running = undefined;
      });
    await this.#running;
  }

  /** Walks in the background. Never throws; a failure leaves what was known. */
  measureSoon(): void {
    if (this.#isOver) return;
    this.measure().catch((error: unknown) =>
      this.#store.parts.options.logger.debug?.('what is held is not known', { error }),
    );
  }

  /** Ends a walk that is under way, whose failure whoever asked for it hears of. */
  async stop(): Promise<void> {
    this.#isOver = true;
    if (this.#running !== undefined) await Promise.allSettled([this.#running]);
  }
}
