/**
 * What the index says of each pack, as a sum over its entries: a pack whose frames have the same sum is as
 * the index says, whatever their number and order, and nothing of it has to be looked up.
 *
 * Memory: some 100 B a pack, whatever the number of chunks.
 */
import { i32le, u32le } from '../base/bytes.ts';
import { chunkFrame } from '../format/chunk-frame.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';
import type { IndexHit, VaultIndex } from './vault-index.ts';

/** Two sums of 32 bits over entries, and their number. */
export class PackDigest {
  count = 0;
  #a = 0;
  #b = 0;

  /** Adds an entry; the id is at ids[at..]. */
  add(
    ids: Uint8Array,
    at: number,
    {
      off8,
      storedLen,
      rawLen,
      kind,
      codec,
    }: Pick<IndexHit, 'off8' | 'storedLen' | 'rawLen' | 'kind' | 'codec'>,
  ): void {
    let a = mix(off8, storedLen);
    let b = mix(rawLen, (kind << 8) | codec);
    for (let i = 0; i < chunkIdBytes; i += 8) {
      a = mix(a, i32le(ids, at + i));
      b = mix(b ^ a, i32le(ids, at + i + 4));
    }
    this.#a = (this.#a + a) | 0;
    this.#b = (this.#b + b) | 0;
    this.count++;
  }

  /** Adds the frame that begins at buf[pos]. */
  addFrame(buf: Uint8Array, pos: number): void {
    const { at } = chunkFrame;
    this.add(buf, pos + at.chunkId, {
      off8: pos / 8,
      storedLen: u32le(buf, pos + at.storedLen),
      rawLen: u32le(buf, pos + at.rawLen),
      kind: buf[pos + at.kind]!,
      codec: buf[pos + at.codec]!,
    });
  }

  equals(other: PackDigest): boolean {
    return this.count === other.count && this.#a === other.#a && this.#b === other.#b;
  }
}

/** The digests of all packs, by number and index object. */
export class PackDigests {
  readonly #byPack = new Map<number, PackDigest[]>();

  /** Goes through the whole index once. `step` is waited for. VARVE_CONFLICT: begin again. */
  static async of(index: VaultIndex, step: () => Promise<void> | undefined): Promise<PackDigests> {
    const digests = new PackDigests();
    let source = -1;
    let own = new Map<number, PackDigest>();
    await index.each((hit, ids, at) => {
      if (hit.source !== source) {
        source = hit.source;
        own = new Map();
      }
      let digest = own.get(hit.pack);
      if (digest === undefined) {
        digest = new PackDigest();
        own.set(hit.pack, digest);
        digests.#byPack.set(hit.pack, [...(digests.#byPack.get(hit.pack) ?? []), digest]);
      }
      digest.add(ids, at, hit);
    }, step);
    return digests;
  }

  /**
   * True when everything the index has in pack `number` is in `digest` of the pack itself; false: it must be
   * held against it one by one.
   */
  agrees(number: number, digest: PackDigest): boolean {
    return (this.#byPack.get(number) ?? []).every((one) => one.equals(digest));
  }
}

function mix(a: number, b: number): number {
  let h = Math.imul(a ^ b, 0x9e3779b1);
  h ^= h >>> 15;
  h = Math.imul(h + b, 0x85ebca77);
  return h ^ (h >>> 13);
}
