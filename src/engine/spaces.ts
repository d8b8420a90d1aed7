/**
 * Named key spaces: the number each name has. Read once at open; a new name takes the next number, and its
 * system row goes with the first transaction that writes to it.
 *
 * Invariants (test/engine/spaces.test.ts):
 * - a number is given to one name for ever, and its row is durable with the first row of the space;
 * - space 0 has no name and always exists.
 */
import { compareBytes, encodeUtf8, prefixEnd } from '../base/bytes.ts';
import { invalid } from '../base/errors.ts';
import { spaceNameBytesMax } from '../base/limits.ts';
import { decodeSysKey, encodeSysPrefix } from '../format/internal-key.ts';
import { rowKindAt, rowKinds } from '../format/row-kinds.ts';
import { decodeSpaceRow, encodeSpaceRow, spaceKey, spacePrefix } from '../format/system-rows.ts';
import { OK, settle } from '../tree/cursor.ts';
import type { KeyTree } from '../tree/key-tree.ts';
import type { LostTables } from '../tree/lost-tables.ts';
import type { SysOp } from '../txn/txn-writer.ts';

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
      let step = await settle(cursor, () => cursor.seek(from));
      while (step === OK) {
        const key = cursor.keyBytes.subarray(cursor.keyFrom, cursor.keyTo);
        if (compareBytes(key, end) >= 0) return;
        this.#take(key, cursor.valueBytes, cursor.valueFrom, cursor.valueTo);
        step = await settle(cursor, () => cursor.next());
      }
    } finally {
      view.release();
    }
  }

  /** The number of a name; a new name gets the next one. VARVE_INVALID_ARGUMENT when it cannot be a name. */
  numberOf(name: string): number {
    if (typeof name !== 'string' || name === '')
      throw invalid('a space has a name of at least one character');
    if (encodeUtf8(name, 'space name').length > spaceNameBytesMax) {
      throw invalid(`a space name has at most ${spaceNameBytesMax} bytes`);
    }
    const named = this.#byName.get(name);
    if (named !== undefined) return named.number;
    // A name that is not known may be one of those in a damaged table.
    this.#lost?.refuseRange(new Uint8Array(0), undefined);
    const number = this.#next++;
    this.#byName.set(name, { number, known: false });
    this.#byNumber.set(number, name);
    return number;
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

  /** Versions of a row come newest first: the first one counts. */
  #take(key: Uint8Array, buf: Uint8Array, from: number, to: number): void {
    const { sysKey } = decodeSysKey(key, 0, key.length, { file: 'system tree' });
    if (rowKindAt(buf, from) !== rowKinds.put) return;
    const { name, number } = decodeSpaceRow(sysKey, buf.subarray(from + 1, to));
    if (this.#byName.has(name)) return;
    this.#byName.set(name, { number, known: true });
    this.#byNumber.set(number, name);
    this.#next = Math.max(this.#next, number + 1);
  }
}
