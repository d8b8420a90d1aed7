/** Rows of the whole blocks of a table, and rows of several sources without repetitions, front to back. */
import { assert } from '../base/assert.ts';
import { align8, compareRange, emptyBytes } from '../base/bytes.ts';
import type { FileSeed } from '../codec/checksum.ts';
import { EntrySpot, entriesEnd } from '../format/data-block.ts';
import { filePath } from '../format/file-names.ts';
import { rowKindAt, rowKinds } from '../format/row-kinds.ts';
import { openBlock } from '../format/table.ts';
import { readExact } from '../fs/dirs.ts';
import type { FsPort } from '../fs/port.ts';
import { END, type KeyCursor, MISS, OK, type Step } from '../tree/cursor.ts';
import type { BlockSpan, SalvagedTable } from './salvage.ts';

/** What goes one way only: the moves of a KeyCursor that a merge of whole sources never makes. */
abstract class ForwardRows implements KeyCursor {
  abstract readonly keyBytes: Uint8Array;
  abstract readonly keyFrom: number;
  abstract readonly keyTo: number;
  abstract readonly valueBytes: Uint8Array;
  abstract readonly valueFrom: number;
  abstract readonly valueTo: number;
  abstract first(): Step;
  abstract next(): Step;
  abstract load(): Promise<void>;

  seek(): Step {
    return refuse();
  }
  seekBefore(): Step {
    return refuse();
  }
  last(): Step {
    return refuse();
  }
  prev(): Step {
    return refuse();
  }
  loadSync(): void {
    refuse();
  }
}

function refuse(): never {
  assert(false, 'rows are read front to back');
  throw new Error('unreachable');
}

/** Holds one block. */
export class SpanRows extends ForwardRows {
  keyBytes: Uint8Array = new Uint8Array(512);
  readonly keyFrom = 0;
  keyTo = 0;
  valueBytes: Uint8Array = emptyBytes;
  valueFrom = 0;
  valueTo = 0;
  readonly #fs: FsPort;
  readonly #path: string;
  readonly #seed: FileSeed | undefined;
  readonly #spans: readonly BlockSpan[];
  readonly #spot = new EntrySpot();
  #loaded = -1;
  #block = 0;
  #at = 0;

  constructor(fs: FsPort, { no, seed, blocks }: SalvagedTable) {
    super();
    this.#fs = fs;
    this.#path = filePath('tab', no);
    this.#seed = seed;
    this.#spans = blocks;
  }

  first(): Step {
    this.#block = 0;
    this.#at = 0;
    return this.next();
  }

  next(): Step {
    if (this.#block === this.#spans.length) return END;
    if (this.#loaded !== this.#block) return MISS;
    const raw = this.valueBytes;
    if (this.#at === entriesEnd(raw)) {
      this.#block++;
      this.#at = 0;
      return this.next();
    }
    const spot = this.#spot;
    spot.read(raw, this.#at);
    if (spot.keyBytes > this.keyBytes.length) {
      const grown = new Uint8Array(2 * spot.keyBytes);
      grown.set(this.keyBytes.subarray(0, spot.shared));
      this.keyBytes = grown;
    }
    for (let i = spot.suffixFrom, to = spot.shared; i < spot.suffixTo; i++, to++) this.keyBytes[to] = raw[i]!;
    this.keyTo = spot.keyBytes;
    this.valueFrom = spot.valueFrom;
    this.valueTo = spot.valueTo;
    this.#at = spot.valueTo;
    return OK;
  }

  async load(): Promise<void> {
    if (this.#block === this.#spans.length || this.#loaded === this.#block) return;
    const { offset, length } = this.#spans[this.#block]!;
    const buf = new Uint8Array(align8(length));
    const file = await this.#fs.open(this.#path, 'read');
    try {
      await readExact(file, buf, offset);
    } finally {
      await file.close();
    }
    this.valueBytes = openBlock(buf, length, this.#seed!, offset, this.#path);
    this.#loaded = this.#block;
  }
}

/**
 * The rows of another cursor, of each (key, number) one ordinary row and one GONE row at most, GONE first;
 * `keep` leaves rows out.
 */
export class DistinctRows extends ForwardRows {
  readonly #rows: KeyCursor;
  readonly #keep: (rows: KeyCursor) => boolean;
  #key = new Uint8Array(512);
  #keyTo = -1;
  #kinds = 0;

  constructor(rows: KeyCursor, keep: (rows: KeyCursor) => boolean = () => true) {
    super();
    this.#rows = rows;
    this.#keep = keep;
  }

  get keyBytes(): Uint8Array {
    return this.#rows.keyBytes;
  }
  get keyFrom(): number {
    return this.#rows.keyFrom;
  }
  get keyTo(): number {
    return this.#rows.keyTo;
  }
  get valueBytes(): Uint8Array {
    return this.#rows.valueBytes;
  }
  get valueFrom(): number {
    return this.#rows.valueFrom;
  }
  get valueTo(): number {
    return this.#rows.valueTo;
  }

  first(): Step {
    this.#keyTo = -1;
    return this.#settle(this.#rows.first());
  }

  next(): Step {
    return this.#settle(this.#rows.next());
  }

  load(): Promise<void> {
    return this.#rows.load();
  }

  #settle(begun: Step): Step {
    let step = begun;
    while (step === OK && !this.#isNew()) step = this.#rows.next();
    return step;
  }

  #isNew(): boolean {
    const { keyBytes, keyFrom, keyTo, valueBytes, valueFrom } = this.#rows;
    // An ordinary row that comes again behind a GONE row of its number changes nothing: the GONE row is
    // first.
    const kind = rowKindAt(valueBytes, valueFrom) === rowKinds.gone ? 1 : 2;
    if (this.#keyTo >= 0 && compareRange(this.#key, 0, this.#keyTo, keyBytes, keyFrom, keyTo) === 0) {
      if ((this.#kinds & kind) !== 0) return false;
      this.#kinds |= kind;
    } else {
      const length = keyTo - keyFrom;
      if (length > this.#key.length) this.#key = new Uint8Array(2 * length);
      this.#key.set(keyBytes.subarray(keyFrom, keyTo));
      this.#keyTo = length;
      this.#kinds = kind;
    }
    return this.#keep(this.#rows);
  }
}
