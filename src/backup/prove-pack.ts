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
import { segmentBytesMax } from '../base/limits.ts';
import { chunkFrame, chunkFrameMagic, frameBytes } from '../format/chunk-frame.ts';
import { chunkIdBytes, codecs } from '../format/chunk-ref.ts';
import { fileHeader } from '../format/file-header.ts';
import { decodePackHeader, packNamings, SkeletonBuilder } from '../format/pack-header.ts';
import {
  decodeSegmentFooter,
  decodeTrailer,
  segmentDataFrom,
  segmentFooter,
  type Trailer,
} from '../format/segment.ts';
import { packName } from '../format/vault-names.ts';
import { sha256Hex } from '../kernels/hash/sha256.ts';
import type { HashThreads } from '../pool/id-checker.ts';
import { RangeChecker } from '../pool/range-checker.ts';
import { readRange } from './blob-store.ts';
import type { PackState, VaultEnv } from './vault-state.ts';

/** Bytes that are read at once, no more than a buffer has, unless one frame is longer. */
const runBytes: number = 2 * 1024 * 1024;

export interface ProveOptions {
  /** To hash on; all on the calling thread without. */
  readonly threads?: HashThreads | undefined;
  /** Called for each run; waited for. */
  readonly pause?: () => Promise<void> | undefined;
}

/** Front and end of a pack. */
interface Ends {
  readonly header: Uint8Array;
  readonly trailer: Trailer;
  /** Trailer and footer as they lie there. */
  readonly tail: Uint8Array;
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
  const checker = new RangeChecker(options.threads);
  try {
    const ends = await readEnds(env, pack);
    if (ends === undefined) return undefined;
    const { header, trailer, tail } = ends;
    const skeleton = new SkeletonBuilder(header, trailer.count);
    for (let from = 0; from < trailer.count; ) {
      const to = await readRun(env, pack, trailer, from, { checker, skeleton });
      if (to === undefined) return undefined;
      from = to;
      const rest = options.pause?.();
      if (rest !== undefined) await rest;
    }
    if (sha256Hex(skeleton.finish(tail)) !== pack.hash) return undefined;
    return (await checker.finish()) ? trailer : undefined;
  } finally {
    checker.release();
  }
}

async function readEnds(
  { store, vaultId }: VaultEnv,
  { hash, size }: Pick<PackState, 'hash' | 'size'>,
): Promise<Ends | undefined> {
  const name = packName(hash);
  if (size < segmentDataFrom + segmentFooter.size || size > segmentBytesMax) return undefined;
  try {
    const header = await store.getRange(name, 0, fileHeader.size);
    const { seed, subKind } = decodePackHeader(header, vaultId, name);
    if (subKind !== packNamings.skeleton) return undefined;
    const end = await store.getRange(name, size - segmentFooter.size, segmentFooter.size);
    const footer = decodeSegmentFooter(end, seed, size, name);
    const tail = await store.getRange(name, footer.trailerOff, size - footer.trailerOff);
    const trailer = decodeTrailer(tail.subarray(0, footer.trailerLen), footer, name);
    return { header, trailer, tail };
  } catch (error) {
    if (isVarveError(error, 'VARVE_CORRUPT', 'VARVE_FORMAT_VERSION')) return undefined;
    throw error;
  }
}

/**
 * Reads and sends frames from number `first` on; the number behind them, undefined where one is not right.
 */
async function readRun(
  { store }: VaultEnv,
  { hash }: Pick<PackState, 'hash'>,
  { count, ids, off8, storedLen, rawLen, kind, codec }: Trailer,
  first: number,
  { checker, skeleton }: { checker: RangeChecker; skeleton: SkeletonBuilder },
): Promise<number | undefined> {
  const begin = off8[first]! * 8;
  let length = frameBytes(storedLen[first]!);
  let to = first + 1;
  const most = Math.min(runBytes, checker.bytesMax);
  for (; to < count && length + frameBytes(storedLen[to]!) <= most; to++)
    length += frameBytes(storedLen[to]!);
  const buffer = await checker.buffer(length);
  if (buffer === undefined) return undefined;
  const bytes = await readRange(store, packName(hash), begin, buffer);
  if (bytes.length !== length) return undefined;
  if (bytes.buffer !== buffer.buffer) buffer.set(bytes);
  const ranges = new Uint32Array(2 * (to - first));
  for (let i = first, pos = 0; i < to; i++) {
    const stored = storedLen[i]!;
    const next = pos + frameBytes(stored);
    const { at } = chunkFrame;
    const isRight =
      codec[i] === codecs.raw &&
      u32le(buffer, pos + at.magic) === chunkFrameMagic &&
      u32le(buffer, pos + at.storedLen) === stored &&
      u32le(buffer, pos + at.rawLen) === rawLen[i] &&
      buffer[pos + at.kind] === kind[i] &&
      buffer[pos + at.codec] === codec[i] &&
      hasId(buffer, pos + at.chunkId, ids, i) &&
      isZero(buffer, pos + chunkFrame.size + stored, next);
    if (!isRight) return undefined;
    skeleton.add(buffer, pos);
    ranges[2 * (i - first)] = pos + chunkFrame.size;
    ranges[2 * (i - first) + 1] = pos + chunkFrame.size + stored;
    pos = next;
  }
  checker.send(buffer, ranges, ids.subarray(first * chunkIdBytes, to * chunkIdBytes));
  return to;
}

function hasId(buf: Uint8Array, at: number, ids: Uint8Array, i: number): boolean {
  for (let k = 0; k < chunkIdBytes; k++) if (buf[at + k] !== ids[i * chunkIdBytes + k]) return false;
  return true;
}
