/**
 * Which packs a verify looks at when runs take turns. How far they have come lies in the vault, for each
 * level, so it does not matter who runs the next one, nor when, nor how many packs there are by then.
 *
 * Invariants (test/backup/verify-rotation.test.ts)
 * - So many runs as there are parts have looked at every pack that was there before the first of them ("as
 *   many runs as there are parts look at every pack").
 * - A run that was ended early loses nothing: the next one goes on behind the last pack it looked at.
 */
import { fromHex, toHex } from '../base/bytes.ts';
import { isVarveError } from '../base/errors.ts';
import { rotationName } from '../format/vault-names.ts';
import { decodeRotation, encodeRotation, rotationRecord } from '../format/vault-records.ts';
import type { VaultEnv } from './vault-state.ts';

/** A rotation as it goes on. */
export class Rotation {
  readonly #env: VaultEnv;
  readonly #level: number;
  /** The last pack looked at, hex; '' = none in this round. */
  #last: string;
  #roundMs: number;
  #coveredMs: number;

  private constructor(env: VaultEnv, level: number, last: string, roundMs: number, coveredMs: number) {
    this.#env = env;
    this.#level = level;
    this.#last = last;
    this.#roundMs = roundMs;
    this.#coveredMs = coveredMs;
  }

  /** What the vault remembers; where it cannot be read a new round begins. */
  static async load(env: VaultEnv, level: number): Promise<Rotation> {
    const name = rotationName(level);
    const now = env.clock.now();
    try {
      const { last, roundMs, coveredMs } = decodeRotation(
        await env.store.get(name, rotationRecord.size),
        name,
      );
      const isBegun = last.some((byte) => byte !== 0);
      return new Rotation(env, level, isBegun ? toHex(last) : '', isBegun ? roundMs : now, coveredMs);
    } catch (error) {
      if (!isVarveError(error, 'VARVE_NOT_FOUND') && !isVarveError(error, 'VARVE_CORRUPT')) throw error;
      return new Rotation(env, level, '', now, 0);
    }
  }

  /** When the last round began that has looked at every pack there was; undefined: none is complete. */
  get coveredSince(): Date | undefined {
    return this.#coveredMs === 0 ? undefined : new Date(this.#coveredMs);
  }

  /** Indices of the packs of this run, in the order they are to be looked at. */
  choose(hashes: readonly string[], parts: number): number[] {
    const order = [...hashes.keys()].sort((a, b) => (hashes[a]! < hashes[b]! ? -1 : 1));
    const found = order.findIndex((i) => hashes[i]! > this.#last);
    const from = Math.max(0, found);
    return [...order.slice(from), ...order.slice(0, from)].slice(0, Math.ceil(order.length / parts));
  }

  /** A pack was looked at; `isLast`: none comes behind it in the order of names. */
  passed(hash: string, isLast: boolean): void {
    this.#last = hash;
    if (!isLast) return;
    this.#coveredMs = this.#roundMs;
    this.#roundMs = this.#env.clock.now();
    this.#last = '';
  }

  /** Remembers it in the vault. */
  async save(): Promise<void> {
    const last = this.#last === '' ? new Uint8Array(32) : fromHex(this.#last);
    const record = { last, roundMs: this.#roundMs, coveredMs: this.#coveredMs };
    await this.#env.store.put(rotationName(this.#level), encodeRotation(record));
  }
}
