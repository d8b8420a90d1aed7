/**
 * The quick way to know that a pack is whole: it is read piece by piece straight into the memory that threads
 * hash, and each byte is hashed once. Chunks are held against their ids; everything else is the pack's
 * skeleton, of which its name is the hash, so the checksums of frames need not be computed: they are what
 * they were when the pack was made. Only packs that are named so, on a target that reads into memory of ours
 * for little, go this way. It says nothing of what is wrong: `checkPack` does.
 *
 * Memory: the buffers of the ring, or one; the skeleton and the trailer of the pack, about 160 B a chunk.
 *
 * Invariants (test/backup/prove-pack.test.ts)
 * - Proved is only what `checkPack` finds nothing in ("whatever bit is flipped, the pack is not proved").
 */
import { isZero, u32le } from '../base/bytes.ts';
import { isVarveError } from '../base/errors.ts';
import { chunkFrame, chunkFrameMagic, frameBytes } from '../format/chunk-frame.ts';
import { chunkIdBytes, codecs } from '../format/chunk-ref.ts';
import { packNamings, SkeletonBuilder } from '../format/pack-header.ts';
import type { Trailer } from '../format/segment.ts';
import { packName } from '../format/vault-names.ts';
import { sha256Hex } from '../kernels/hash/sha256.ts';
import { type HashThreads, IdChecker } from '../pool/id-checker.ts';
import { type BlobReader, openBlob } from './blob-store.ts';
import { type PackEnds, readPackEnds } from './pack-reader.ts';
import type { PackState, VaultEnv } from './vault-state.ts';

/** Bytes that are read at once, no more than a buffer has, unless one frame is longer. */
const runBytes: number = 2 * 1024 * 1024;

export interface ProveOptions {
  /** To hash on; all on the calling thread without. */
  readonly threads?: HashThreads | undefined;
  /** Called for each run; waited for. */
  readonly pause?: () => Promise<void> | undefined;
}

/**
 * The trailer of the pack, every byte of which has been proved; undefined where it is damaged, or is not to
 * be told in this way. VARVE_NOT_FOUND, VARVE_IO and the like from the target.
 */
export async function provePack(
  env: VaultEnv,
  pack: Pick<PackState, 'hash' | 'size'>,
  options: ProveOptions = {},
): Promise<Trailer | undefined> {
  if (env.store.caps.local !== true) return undefined;
  const ends = await soundEnds(env, pack);
  if (ends === undefined) return undefined;
  const { header, trailer, tail } = ends;
  const skeleton = new SkeletonBuilder(header, trailer.count);
  let wrong = 0;
  const checker = new IdChecker(options.threads, () => {
    wrong++;
  });
  const blob = await openBlob(env.store, packName(pack.hash));
  const frames = new FrameReader(blob, trailer, checker, skeleton);
  try {
    for (let from = 0; from < trailer.count; ) {
      const to = await frames.read(from);
      if (to === undefined || wrong > 0) return undefined;
      from = to;
      const rest = options.pause?.();
      if (rest !== undefined) await rest;
    }
    await checker.finish();
  } finally {
    checker.release();
    await blob.close();
  }
  return wrong === 0 && sha256Hex(skeleton.finish(tail)) === pack.hash ? trailer : undefined;
}

/** Undefined where they are damaged, or the pack is not named by its skeleton. */
async function soundEnds(
  { store, vaultId }: VaultEnv,
  { hash, size }: Pick<PackState, 'hash' | 'size'>,
): Promise<PackEnds | undefined> {
  try {
    const ends = await readPackEnds(store, hash, size, vaultId);
    return ends.subKind === packNamings.skeleton ? ends : undefined;
  } catch (error) {
    if (isVarveError(error, 'VARVE_CORRUPT', 'VARVE_FORMAT_VERSION')) return undefined;
    throw error;
  }
}

/** Reads frames into memory that threads see, where there is any, and gives them to be checked. */
class FrameReader {
  readonly #blob: BlobReader;
  readonly #trailer: Trailer;
  readonly #checker: IdChecker;
  readonly #skeleton: SkeletonBuilder;
  #own = new Uint8Array(0);

  constructor(blob: BlobReader, trailer: Trailer, checker: IdChecker, skeleton: SkeletonBuilder) {
    this.#blob = blob;
    this.#trailer = trailer;
    this.#checker = checker;
    this.#skeleton = skeleton;
  }

  /** Frames from number `first` on; the number behind them, undefined where one is not right. */
  async read(first: number): Promise<number | undefined> {
    const { count, off8, storedLen } = this.#trailer;
    const lent = await this.#checker.memory();
    const most = Math.min(runBytes, lent?.length ?? runBytes);
    let length = frameBytes(storedLen[first]!);
    let to = first + 1;
    for (; to < count && length + frameBytes(storedLen[to]!) <= most; to++)
      length += frameBytes(storedLen[to]!);
    const isLent = lent !== undefined && length <= lent.length;
    const buffer = isLent ? lent.subarray(0, length) : this.#room(length);
    const bytes = await this.#blob.read(off8[first]! * 8, buffer);
    if (bytes.length !== length) return undefined;
    if (bytes.buffer !== buffer.buffer) buffer.set(bytes);
    for (let i = first, pos = 0; i < to; i++) {
      if (!this.#isAsTrailer(buffer, pos, i)) return undefined;
      this.#skeleton.add(buffer, pos);
      const from = pos + chunkFrame.size;
      const stored = storedLen[i]!;
      const added = this.#checker.add(buffer, pos + chunkFrame.at.chunkId, from, from + stored, i);
      if (added !== undefined) await added;
      pos += frameBytes(stored);
    }
    return to;
  }

  #room(length: number): Uint8Array {
    if (length > this.#own.length) this.#own = new Uint8Array(length);
    return this.#own.subarray(0, length);
  }

  /** Frame `i` begins at bytes[pos], has what the trailer says, and zeros behind it. */
  #isAsTrailer(bytes: Uint8Array, pos: number, i: number): boolean {
    const { at } = chunkFrame;
    const { ids, storedLen, rawLen, kind, codec } = this.#trailer;
    const stored = storedLen[i]!;
    return (
      codec[i] === codecs.raw &&
      u32le(bytes, pos + at.magic) === chunkFrameMagic &&
      u32le(bytes, pos + at.storedLen) === stored &&
      u32le(bytes, pos + at.rawLen) === rawLen[i] &&
      bytes[pos + at.kind] === kind[i] &&
      bytes[pos + at.codec] === codec[i] &&
      hasId(bytes, pos + at.chunkId, ids, i) &&
      isZero(bytes, pos + chunkFrame.size + stored, pos + frameBytes(stored))
    );
  }
}

function hasId(buf: Uint8Array, at: number, ids: Uint8Array, i: number): boolean {
  for (let k = 0; k < chunkIdBytes; k++) if (buf[at + k] !== ids[i * chunkIdBytes + k]) return false;
  return true;
}
