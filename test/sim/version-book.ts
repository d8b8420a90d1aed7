/** Every version of every key that a store has shown to be durable, and the state after each commit. */
import { encodeUtf8 } from '../../src/base/bytes.ts';
import { newestOf } from './attempts.ts';
import type { History, Version } from './history.ts';
import type { ValueSpec } from './plan.ts';
import type { Row } from './rows.ts';
import { bytesOf as bytesOfSpec } from './values.ts';

export class VersionBook implements History {
  versions: Version[] = [];
  /** Values by call. */
  readonly #puts = new Map<number, ReadonlyMap<string, ValueSpec | null>>();
  /** Versions of each key of a space, oldest first. */
  readonly #bySpace = new Map<string, Map<string, Version[]>>();
  /** Keys of a space that ever had a row, in byte order: as hex they are in the order of strings. */
  readonly #keys = new Map<string, string[]>();
  /** When versions expire. */
  readonly #expiries = new Set<number>();

  /** What has expired by then is absent. */
  asOf(ms: number): History {
    if (!this.mayExpire) return this;
    const isThere = (version: Version): boolean => version.expires === undefined || version.expires > ms;
    return {
      versions: this.versions,
      at: (space, key, view) => {
        const found = this.at(space, key, view);
        return found === undefined || !isThere(found) ? undefined : found;
      },
      stateAt: (space, view) => this.stateAt(space, view).filter(isThere),
      lengthOf: (version) => this.lengthOf(version),
      bytesOf: (version) => this.bytesOf(version),
      checkBytes: (version, bytes, what) => this.checkBytes(version, bytes, what),
    };
  }

  /** Some value was put that expires. */
  get mayExpire(): boolean {
    return this.#expiries.size > 0;
  }

  /** Moments that tell apart what a read could see that was made at some time between the two. */
  momentsIn(low: number, high: number): number[] {
    return [low, ...Array.from(this.#expiries).filter((ms) => ms > low && ms <= high)];
  }

  /** The values that a call puts; they may be given until it ends. */
  takeValues(id: number, changes: ReadonlyMap<string, ValueSpec | null>): void {
    this.#puts.set(id, changes);
  }

  /** A number below 0 stands for what a counter put. */
  bytesOf({ id, key }: Version): Uint8Array {
    if (id! < 0) return encodeUtf8(String(-id!));
    return bytesOfSpec(this.#puts.get(id!)!.get(key)!);
  }

  lengthOf(version: Version): number {
    return this.bytesOf(version).length;
  }

  /** Compares bytes with what a version must have. */
  checkBytes(version: Version, bytes: Uint8Array, what: string): void {
    if (Buffer.compare(bytes, this.bytesOf(version)) !== 0)
      throw new Error(`${what}: other bytes than commit ${version.seq} put (${bytes.length} bytes)`);
  }

  /** The newest version of a key at or below `view`, removals as undefined. */
  at(space: string, key: string, view: number): Version | undefined {
    const found = newestOf(this.versionsOf(space, key), view);
    return found?.id === undefined ? undefined : found;
  }

  /** Live versions of a space at `view`, by key in byte order. */
  stateAt(space: string, view: number): Version[] {
    const versions = this.#bySpace.get(space);
    if (versions === undefined) return [];
    const keys = this.#sortedKeys(space, versions);
    const live: Version[] = [];
    for (const key of keys) {
      const found = newestOf(versions.get(key)!, view);
      if (found?.id !== undefined) live.push(found);
    }
    return live;
  }

  #sortedKeys(space: string, versions: ReadonlyMap<string, Version[]>): readonly string[] {
    let keys = this.#keys.get(space);
    if (keys?.length !== versions.size) {
      keys = Array.from(versions.keys()).sort();
      this.#keys.set(space, keys);
    }
    return keys;
  }

  /** Versions of a key, removals too, oldest first. */
  versionsOf(space: string, key: string): readonly Version[] {
    return this.#bySpace.get(space)?.get(key) ?? [];
  }

  /** Keys of a space that ever had a row. */
  keysOf(space: string): readonly string[] {
    return Array.from(this.#bySpace.get(space)?.keys() ?? []);
  }

  /** Names of spaces that ever had a row. */
  get spaces(): string[] {
    return Array.from(this.#bySpace.keys());
  }

  /** The rows of a commit are versions of their keys from now on; `id`: the call that put them. */
  protected addVersions(group: readonly Row[], space: string, id?: number): void {
    const named = this.#bySpace.get(space) ?? new Map<string, Version[]>();
    this.#bySpace.set(space, named);
    for (const row of group) {
      const { seq, key, isPut, expires } = row;
      const version = { seq, space, key, id: isPut ? id : undefined, expires };
      this.versions.push(version);
      if (expires !== undefined) this.#expiries.add(expires);
      const versions = named.get(key);
      if (versions === undefined) named.set(key, [version]);
      else versions.push(version);
    }
  }

  /** Every live key that `isCovered` says yes to is removed by commit `seq`. */
  protected removeKeys(space: string, seq: number, isCovered: (key: string) => boolean): void {
    for (const [key, versions] of this.#bySpace.get(space) ?? []) {
      if (versions.at(-1)?.id === undefined || !isCovered(key)) continue;
      const version = { seq, space, key, id: undefined };
      this.versions.push(version);
      versions.push(version);
    }
  }
}
