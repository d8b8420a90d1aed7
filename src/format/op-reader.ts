/** What reading and writing of log ops share: fields as positions in the payload, ids. */
import type { Place, VarveError } from '../base/errors.ts';
import { ByteReader } from '../codec/byte-reader.ts';
import type { ByteWriter } from '../codec/byte-writer.ts';
import { chunkIdBytes } from './chunk-ref.ts';
import { newerFormat } from './format-ladder.ts';
import { isTree, type TreeId } from './trees.ts';

/** A ByteReader that yields positions instead of views and knows where the transaction ends. */
export class OpReader extends ByteReader {
  limit = 0;
  opAt = 0;
  readonly #file: string;
  readonly #base: number;

  constructor(bytes: Uint8Array, place: Place, from: number, to: number) {
    super(bytes, place, from, to);
    this.#file = place.file;
    this.#base = place.offset ?? 0;
  }

  /** Position of the next `n` bytes, which are skipped. */
  span(n: number): number {
    if (n > this.left) throw this.fail('op is cut off');
    const at = this.pos;
    this.pos += n;
    return at;
  }

  /** varint length, then that many bytes: the position of the first; `pos` is then behind the last. */
  varSpan(): number {
    return this.span(this.varint());
  }

  varint32(): number {
    const value = this.varint();
    if (value > 0xffff_ffff) throw this.fail('field above 2^32-1');
    return value;
  }

  tree(): TreeId {
    const tree = this.u8();
    if (!isTree(tree)) throw this.fail('op names an unknown tree');
    return tree;
  }

  /** The op that was just read must not reach beyond its transaction. */
  check(): void {
    if (this.pos > this.limit) throw this.fail('op reaches beyond its transaction');
  }

  unknown(code: number): VarveError {
    return newerFormat(`log op ${code} is not known to this build`, {
      file: this.#file,
      offset: this.#base + this.opAt,
    });
  }
}

/** Appends the id at `id[idAt..idAt+32)`. */
export function putId(w: ByteWriter, id: Uint8Array, idAt: number): void {
  w.reserve(chunkIdBytes);
  for (let i = 0; i < chunkIdBytes; i++) w.bytes[w.pos + i] = id[idAt + i]!;
  w.pos += chunkIdBytes;
}
