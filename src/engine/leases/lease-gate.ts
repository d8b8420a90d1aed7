/**
 * Which files readers in other processes still need: the writer asks before it unlinks. A lease counts as
 * long as its bytes change; one that stood still for a minute, by the writer's own clock since it first saw
 * it so, is dead and removed. Files are held for a bounded time, whatever leases say: a reader whose files
 * are gone is told VARVE_SNAPSHOT_EXPIRED.
 *
 * Order: a reader writes its lease before it reads SUPER, the writer looks at leases behind its install. So
 * it sees the lease, or the reader sees the new state.
 *
 * Invariants (test/engine/follower.test.ts)
 * - Nothing a live lease needs is unlinked before the bound ("a writer keeps the files of a live reader").
 * - A dead reader holds nothing for longer than a minute ("a dead reader's lease ends").
 */
import { toHex } from '../../base/bytes.ts';
import type { Clock } from '../../base/clock.ts';
import type { NumberedFile } from '../../format/catalog.ts';
import { leaseSuffix, readersDir } from '../../format/file-names.ts';
import { decodeLease, leaseRecord } from '../../format/lease.ts';
import type { FsPort } from '../../fs/port.ts';
import type { Logger } from '../options.ts';

/** A lease that stands still for so long is dead, ms. */
export const leaseDeadMs = 60_000;
/** Longest time files are held for readers, ms. */
export const leaseHoldMsMax = 5 * 60_000;

interface Seen {
  readonly bytes: string;
  /** Since when it has these bytes, by our clock. */
  readonly since: number;
  readonly generation: number;
}

/** A file that may be unlinked as far as the writer is concerned. */
export interface HeldFile {
  readonly file: NumberedFile;
  /** States opened by this generation, or a later one, do not need it. */
  readonly generation: number;
  /** Monotonic ms. */
  readonly since: number;
}

export class LeaseGate {
  readonly #fs: FsPort;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #seen = new Map<string, Seen>();

  constructor(fs: FsPort, clock: Clock, logger: Logger) {
    this.#fs = fs;
    this.#clock = clock;
    this.#logger = logger;
  }

  /**
   * The lowest generation a live reader needs; infinity where there is none. Where leases cannot be looked at
   * it is 0: files stay for another time. Never throws.
   */
  async lowest(): Promise<number> {
    try {
      return await this.#lowest();
    } catch (error) {
      this.#logger.warn?.('the leases of readers cannot be read: files are kept for now', { error });
      return 0;
    }
  }

  /** Parts those that may go from those that must stay for readers. */
  async part<T extends HeldFile>(files: readonly T[]): Promise<{ ready: T[]; held: T[] }> {
    if (files.length === 0) return { ready: [], held: [] };
    const lowest = await this.lowest();
    const now = this.#clock.monotonic();
    const isHeld = ({ generation, since }: T): boolean => generation > lowest && now - since < leaseHoldMsMax;
    return { ready: files.filter((file) => !isHeld(file)), held: files.filter(isHeld) };
  }

  async #lowest(): Promise<number> {
    const names = (await this.#fs.list(readersDir)).map(({ name }) => name);
    const leases = names.filter((name) => name.endsWith(leaseSuffix));
    for (const name of this.#seen.keys()) if (!leases.includes(name)) this.#seen.delete(name);
    let lowest = Number.POSITIVE_INFINITY;
    for (const name of leases) {
      const seen = await this.#look(name);
      if (seen === undefined) continue;
      if (this.#clock.monotonic() - seen.since < leaseDeadMs) lowest = Math.min(lowest, seen.generation);
      else await this.#fs.unlink(`${readersDir}/${name}`);
    }
    return lowest;
  }

  /** Undefined where the reader has ended meanwhile. */
  async #look(name: string): Promise<Seen | undefined> {
    const path = `${readersDir}/${name}`;
    if ((await this.#fs.stat(path)) === null) return undefined;
    const file = await this.#fs.open(path, 'read');
    const bytes = new Uint8Array(leaseRecord.size);
    try {
      await file.read(bytes, 0);
    } finally {
      await file.close();
    }
    const text = toHex(bytes);
    const before = this.#seen.get(name);
    if (before?.bytes === text) return before;
    const generation = decodeLease(bytes, path)?.generation ?? 0;
    const seen = { bytes: text, since: this.#clock.monotonic(), generation };
    this.#seen.set(name, seen);
    return seen;
  }
}
