/** Targets that fail, lose what they took, answer out of order, or show late what others have put. */
import { expect } from 'vitest';
import { type BlobCaps, type BlobData, type BlobEntry, noSuchBlob } from '../../src/backup/blob-store.ts';
import { MemoryBlobs } from '../../src/backup/memory-blobs.ts';
import type { Clock } from '../../src/base/clock.ts';
import { VarveError } from '../../src/base/errors.ts';
import type { Prng } from '../../src/base/prng.ts';
import { turn } from '../engine/engine-kit.ts';

/** Fails from the n-th changing call on, before or behind its effect; loses puts and deletions. */
export class FaultyBlobs extends MemoryBlobs {
  /** Changing calls that still succeed. */
  left = Number.POSITIVE_INFINITY;
  /** The call that fails has its effect. */
  behind = false;
  calls = 0;
  /** Puts that report success and have no effect. */
  loses: (name: string) => boolean = () => false;
  /** Deletions that report success and have no effect. */
  keeps: (name: string) => boolean = () => false;
  /** Calls take so many turns: of two at once either may end, and have its effect, first. */
  jitter: Prng | undefined;

  async #step<T>(call: () => Promise<T>): Promise<T> {
    this.calls++;
    const isLast = this.left === 0;
    if (this.left > 0) {
      this.left--;
      await this.#wait();
      const result = await call();
      await this.#wait();
      return result;
    }
    this.left = -1;
    if (isLast && this.behind) await call();
    throw new VarveError('VARVE_IO', 'the target is gone');
  }

  async #wait(): Promise<void> {
    if (this.jitter === undefined) return;
    for (let i = this.jitter.below(6); i > 0; i--) await turn();
  }

  override put(name: string, data: BlobData, options?: { ifAbsent?: boolean }): Promise<boolean> {
    return this.#step(async () => (this.loses(name) ? true : await super.put(name, data, options)));
  }

  override delete(name: string): Promise<boolean> {
    return this.#step(async () => (this.keeps(name) ? true : await super.delete(name)));
  }
}

/** A change of an object: its bytes, none where it was deleted. */
interface Change {
  readonly by: LateClient;
  readonly seenMs: number;
  readonly bytes: Uint8Array | undefined;
}

/** What several clients share: every change of every object, in order. */
export class LateTarget {
  readonly changes = new Map<string, Change[]>();
  readonly #clock: Clock;
  readonly #prng: Prng;
  readonly #lagMsMax: number;

  /** Others see a change up to `lagMsMax` later, each change after a time of its own. */
  constructor(clock: Clock, prng: Prng, lagMsMax: number) {
    this.#clock = clock;
    this.#prng = prng;
    this.#lagMsMax = lagMsMax;
  }

  note(name: string, by: LateClient, bytes: Uint8Array | undefined): void {
    const seenMs = this.#clock.now() + this.#prng.below(this.#lagMsMax);
    this.changes.set(name, [...(this.changes.get(name) ?? []), { by, seenMs, bytes }]);
  }

  /** What `client` sees of an object; everything where it is undefined. */
  seen(name: string, client: LateClient | undefined): Uint8Array | undefined {
    const now = this.#clock.now();
    const changes = this.changes.get(name) ?? [];
    const isSeen = ({ by, seenMs }: Change): boolean =>
      client === undefined || by === client || seenMs <= now;
    return changes.findLast(isSeen)?.bytes;
  }

  /** All objects as they are, in a store that shows everything. */
  settled(): MemoryBlobs {
    const names = [...this.changes.keys()];
    return new MemoryBlobs(
      names.flatMap((name) => {
        const bytes = this.seen(name, undefined);
        return bytes === undefined ? [] : [[name, bytes] as const];
      }),
    );
  }
}

/** One of several users of a target: sees its own changes at once. Only creation is atomic among all. */
export class LateClient extends MemoryBlobs {
  override readonly caps: BlobCaps = { conditionalPut: true };
  readonly #target: LateTarget;

  constructor(target: LateTarget) {
    super();
    this.#target = target;
  }

  override async put(name: string, data: BlobData, options: { ifAbsent?: boolean } = {}): Promise<boolean> {
    await turn();
    if (options.ifAbsent === true && this.#target.seen(name, undefined) !== undefined) return false;
    const one = new MemoryBlobs();
    await one.put(name, data);
    this.#target.note(name, this, await one.get(name, Number.MAX_SAFE_INTEGER));
    return true;
  }

  override async delete(name: string): Promise<boolean> {
    await turn();
    const was = this.#target.seen(name, undefined) !== undefined;
    if (was) this.#target.note(name, this, undefined);
    return was;
  }

  #find(name: string): Uint8Array {
    const bytes = this.#target.seen(name, this);
    if (bytes === undefined) throw noSuchBlob(name);
    return bytes;
  }

  override async get(name: string, bytesMax: number): Promise<Uint8Array> {
    expect(this.#find(name).length).toBeLessThanOrEqual(bytesMax);
    return this.#find(name).slice();
  }

  override async getRange(name: string, from: number, length: number): Promise<Uint8Array> {
    return this.#find(name).slice(from, from + length);
  }

  override async size(name: string): Promise<number | undefined> {
    return this.#target.seen(name, this)?.length;
  }

  override async *list(prefix: string): AsyncGenerator<BlobEntry> {
    const entries: BlobEntry[] = [];
    for (const name of this.#target.changes.keys()) {
      const bytes = name.startsWith(prefix) ? this.#target.seen(name, this) : undefined;
      if (bytes !== undefined) entries.push({ name, size: bytes.length });
    }
    yield* entries;
  }
}
