/**
 * Named key spaces: the number each name has. Read once at open; a new name takes the next number, and its
 * system row goes with the first transaction that writes to it. A dropped name is free again at once, and
 * takes another number then.
 *
 * Invariants (test/engine/spaces.test.ts, test/engine/delete-range.test.ts):
 * - a number is given to one name for ever, and its row is durable with the first row of the space;
 * - nothing is written under the number of a dropped space ("a write that began before its space was dropped
 *   is refused");
 * - space 0 has no name and always exists.
 */
import { compareBytes, encodeUtf8, prefixEnd, toHex } from '../../base/bytes.ts';
import { invalid, VarveError } from '../../base/errors.ts';
import { spaceNameBytesMax } from '../../base/limits.ts';
import { decodeSysKey, encodeSysPrefix } from '../../format/internal-key.ts';
import { rowKindAt, rowKinds } from '../../format/row-kinds.ts';
import {
  decodeNextSpace,
  decodeSpaceRow,
  encodeSpaceRow,
  nextSpaceKey,
  spaceKey,
  spacePrefix,
} from '../../format/system-rows.ts';
import { OK, settle } from '../../tree/cursor.ts';
import type { KeyTree } from '../../tree/key-tree.ts';
import type { LostTables } from '../../tree/lost-tables.ts';
import { RowRef } from '../../tree/row-ref.ts';
import type { SysOp } from '../../txn/committed.ts';

interface Named {
  readonly number: number;
  /** Its row is sequenced. */
  known: boolean;
}

export class Spaces {
  readonly #byName = new Map<string, Named>();
  readonly #byNumber = new Map<number, string>();
  #next = 1;
  #lost: LostTables | undefined;

  /** Reads all names from the system tree. */
  async load(system: KeyTree): Promise<void> {
    this.#lost = system.lost;
    const view = system.view();
    try {
      const cursor = view.cursor();
      const from = encodeSysPrefix(spacePrefix).subarray(0, spacePrefix.length);
      const end = prefixEnd(from)!;
      const met = new Set<string>();
      let step = await settle(cursor, () => cursor.seek(from));
      while (step === OK) {
        const key = cursor.keyBytes.subarray(cursor.keyFrom, cursor.keyTo);
        if (compareBytes(key, end) >= 0) break;
        this.#take(key, cursor.valueBytes, cursor.valueFrom, cursor.valueTo, met);
        step = await settle(cursor, () => cursor.next());
      }
    } finally {
      view.release();
    }
    await this.#loadNext(system);
  }

  /** Numbers of dropped spaces are in no row any more. */
  async #loadNext(system: KeyTree): Promise<void> {
    const prefix = encodeSysPrefix(nextSpaceKey);
    const row = new RowRef();
    const step = await system.findAsync(prefix, 0, prefix.length, Number.MAX_SAFE_INTEGER, row);
    if (step !== OK || row.kind !== rowKinds.put) return;
    const next = decodeNextSpace(row.bytes.subarray(row.valueFrom + 1, row.valueTo));
    this.#next = Math.max(this.#next, next);
  }

  /** The number of a name; a new name gets the next one. VARVE_INVALID_ARGUMENT when it cannot be a name. */
  numberOf(name: string): number {
    const named = this.#byName.get(name);
    if (named !== undefined) return named.number;
    checkName(name);
    // A name that is not known may be one of those in a damaged table.
    this.#lost?.refuseRange(new Uint8Array(0), undefined);
    const number = this.#next++;
    this.#byName.set(name, { number, known: false });
    this.#byNumber.set(number, name);
    return number;
  }

  /** The number of a space that has been written to and not dropped since; undefined for other names. */
  known(name: string): number | undefined {
    checkName(name);
    const named = this.#byName.get(name);
    return named?.known === true ? named.number : undefined;
  }

  /** The name of a number; undefined for space 0 and for numbers of dropped spaces. */
  nameOf(number: number): string | undefined {
    return this.#byNumber.get(number);
  }

  /** Rows that go with the transaction that drops the space; tell `dropped` once it is sequenced. */
  rowsToDrop(name: string): { key: Uint8Array; value: Uint8Array | undefined }[] {
    return [
      { key: spaceKey(name), value: undefined },
      { key: nextSpaceKey, value: encodeSpaceRow(this.#next) },
    ];
  }

  dropped(name: string): void {
    const named = this.#byName.get(name);
    if (named === undefined) return;
    this.#byName.delete(name);
    this.#byNumber.delete(named.number);
  }

  /** VARVE_CONFLICT when the space was dropped since its number was asked for. */
  assertLive(number: number): void {
    if (number === 0 || this.#byNumber.has(number)) return;
    throw new VarveError('VARVE_CONFLICT', 'the space was dropped while the call was under way');
  }

  /** The space has its row, or needs none: a put to it is a transaction of one row. */
  isSettled(number: number): boolean {
    if (number === 0) return true;
    const name = this.#byNumber.get(number);
    return name !== undefined && this.#byName.get(name)!.known;
  }

  /** The row that must go with the next transaction of the space; empty when it is sequenced. */
  rowsFor(number: number): SysOp[] {
    const name = this.#byNumber.get(number);
    if (name === undefined || this.#byName.get(name)!.known) return [];
    return [{ key: spaceKey(name), value: encodeSpaceRow(number) }];
  }

  /** The row of the space has been sequenced. */
  sequenced(number: number): void {
    const name = this.#byNumber.get(number);
    if (name !== undefined) this.#byName.get(name)!.known = true;
  }

  /** Names that have been written to, sorted. */
  names(): string[] {
    const known = Array.from(this.#byName).filter(([, named]) => named.known);
    return known.map(([name]) => name).sort((a, b) => compareBytes(encodeUtf8(a), encodeUtf8(b)));
  }

  /** Versions of a row come newest first: the first one counts. `met`: names seen before. */
  #take(key: Uint8Array, buf: Uint8Array, from: number, to: number, met: Set<string>): void {
    const { sysKey } = decodeSysKey(key, 0, key.length, { file: 'system tree' });
    const name = toHex(sysKey);
    if (met.has(name)) return;
    met.add(name);
    if (rowKindAt(buf, from) !== rowKinds.put) return;
    const space = decodeSpaceRow(sysKey, buf.subarray(from + 1, to));
    this.#byName.set(space.name, { number: space.number, known: true });
    this.#byNumber.set(space.number, space.name);
    this.#next = Math.max(this.#next, space.number + 1);
  }
}

function checkName(name: string): void {
  if (typeof name !== 'string' || name === '') {
    throw invalid('a space has a name of at least one character');
  }
  if (encodeUtf8(name, 'space name').length > spaceNameBytesMax) {
    throw invalid(`a space name has at most ${spaceNameBytesMax} bytes`);
  }
}
