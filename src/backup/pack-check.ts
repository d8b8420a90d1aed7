/**
 * Checks every byte of a pack in memory, each hashed once: header, footer and trailer by their checksums,
 * frames by checksum and id. They leave no gap, so the name of a pack that is named by its bytes, a hash of
 * the same, tells nothing more where the index knows what is in it.
 *
 * Invariants (test/backup/pack-check.test.ts)
 * - Any flipped bit is found, in a frame with the id of its chunk, though the name is not computed ("every
 *   flipped bit of a pack is found by what lies in it, and named").
 * - What is found does not depend on threads ("threads that die or lie change nothing that is found").
 */
import { emptyBytes } from '../base/bytes.ts';
import { corrupt, isVarveError, type VarveError } from '../base/errors.ts';
import {
  ChunkFrame,
  checkChunkFrame,
  chunkFrame,
  chunkFrameError,
  frameBytes,
} from '../format/chunk-frame.ts';
import { chunkIdBytes, codecs } from '../format/chunk-ref.ts';
import { decodePackHeader, packNamings, packSkeleton } from '../format/pack-header.ts';
import {
  decodeSegmentFooter,
  decodeTrailer,
  segmentDataFrom,
  segmentFooter,
  type Trailer,
} from '../format/segment.ts';
import { packName } from '../format/vault-names.ts';
import { sha256Hex } from '../kernels/hash/sha256.ts';
import { type HashThreads, IdChecker } from '../pool/id-checker.ts';

/** What is wrong with a pack, by frame where it is known which. */
export interface PackFault {
  readonly error: VarveError;
  /** Ids of the chunks it concerns; empty: of none, or of all that are not whole. */
  readonly ids: readonly Uint8Array[];
}

export interface PackCheckOptions {
  /** To hash on; all on the calling thread without. */
  readonly threads?: HashThreads | undefined;
  /**
   * Computes the name too where that is a hash of all bytes: for packs that no index vouches for. One that is
   * a hash of the skeleton always is.
   */
  readonly named?: boolean;
  /** Called for each frame; waited for. */
  readonly pause?: () => Promise<void> | undefined;
}

/** What a check found. */
export interface PackCheckResult {
  /** In the order of what lies in the pack, header, footer and trailer first. */
  readonly faults: readonly PackFault[];
  /** Where the id of each whole frame lies in the bytes, ascending. */
  readonly whole: readonly number[];
}

/** Checks the pack `bytes` (borrowed until it resolves), whose name says `hash`. Never rejects for damage. */
export async function checkPack(
  bytes: Uint8Array,
  hash: string,
  vaultId: Uint8Array,
  options: PackCheckOptions = {},
): Promise<PackCheckResult> {
  const check = new PackCheck(bytes, packName(hash), options);
  const { faults, whole } = await check.run(vaultId);
  if (faults.length > 0 || check.isNamed(hash, options.named === true)) return { faults, whole };
  const place = { file: packName(hash), offset: 0 };
  return {
    faults: [{ error: corrupt('pack does not have the bytes its name says', place), ids: [] }],
    whole,
  };
}

class PackCheck {
  readonly #bytes: Uint8Array;
  readonly #file: string;
  readonly #options: PackCheckOptions;
  readonly #ids: IdChecker;
  /** Of header, footer and trailer. */
  readonly #faults: PackFault[] = [];
  /** By the place of the frame: threads tell late what they find. */
  readonly #frameFaults = new Map<number, PackFault>();
  /** Places of the ids of frames that have their checksum. */
  readonly #idAts: number[] = [];
  #ends: { readonly naming: number; readonly trailer: Trailer; readonly trailerOff: number } | undefined;

  constructor(bytes: Uint8Array, file: string, options: PackCheckOptions) {
    this.#bytes = bytes;
    this.#file = file;
    this.#options = options;
    this.#ids = new IdChecker(options.threads, (offset, id) => {
      const error = corrupt('chunk does not have the bytes its id names', { file, offset });
      this.#frameFaults.set(offset, { error, ids: [id] });
    });
  }

  async run(vaultId: Uint8Array): Promise<PackCheckResult> {
    this.#readEnds(vaultId);
    try {
      if (this.#ends === undefined) await this.#scan();
      else await this.#frames(this.#ends.trailer);
      await this.#ids.finish();
    } finally {
      this.#ids.release();
    }
    const bad = [...this.#frameFaults].sort(([a], [b]) => a - b);
    const whole = this.#idAts.filter((idAt) => !this.#frameFaults.has(idAt - chunkFrame.at.chunkId));
    return { faults: [...this.#faults, ...bad.map(([, fault]) => fault)], whole };
  }

  /**
   * Whether a pack without faults has the name `hash`; of one named by all of its bytes only if `asked`,
   * which hashes them.
   */
  isNamed(hash: string, asked: boolean): boolean {
    const bytes = this.#bytes;
    if (this.#ends?.naming !== packNamings.skeleton) return !asked || sha256Hex(bytes) === hash;
    const { trailer, trailerOff } = this.#ends;
    return sha256Hex(packSkeleton(bytes, trailer, trailerOff)) === hash;
  }

  /** Notes a fault where header, footer or trailer is damaged. */
  #readEnds(vaultId: Uint8Array): void {
    const bytes = this.#bytes;
    const file = this.#file;
    try {
      const { seed, subKind } = decodePackHeader(bytes, vaultId, file);
      const tail = bytes.length < segmentFooter.size ? emptyBytes : bytes.subarray(-segmentFooter.size);
      const footer = decodeSegmentFooter(tail, seed, bytes.length, file);
      const { trailerOff, trailerLen } = footer;
      const trailer = decodeTrailer(bytes.subarray(trailerOff, trailerOff + trailerLen), footer, file);
      this.#ends = { naming: subKind, trailer, trailerOff };
    } catch (error) {
      if (!isVarveError(error)) throw error;
      this.#faults.push({ error, ids: [] });
    }
  }

  async #frames(trailer: Trailer): Promise<void> {
    const found = new ChunkFrame();
    for (let i = 0; i < trailer.count; i++) {
      const from = trailer.off8[i]! * 8;
      const id = trailer.ids.subarray(i * chunkIdBytes, (i + 1) * chunkIdBytes);
      const error = this.#frameError(trailer, i, from, found);
      if (error !== undefined) this.#frameFaults.set(from, { error, ids: [id.slice()] });
      else await this.#hash(found, from);
    }
  }

  /** What is wrong with frame `i` of the trailer, but for its bytes; fills `found`. */
  #frameError(trailer: Trailer, i: number, from: number, found: ChunkFrame): VarveError | undefined {
    const bytes = this.#bytes;
    const file = this.#file;
    const verdict = checkChunkFrame(bytes, from, from + frameBytes(trailer.storedLen[i]!), found);
    if (verdict !== 'ok') return chunkFrameError(verdict, file, from);
    if (found.codec !== codecs.raw) return chunkFrameError('unsupported', file, from);
    for (let k = 0; k < chunkIdBytes; k++) {
      if (bytes[found.idAt + k] !== trailer.ids[i * chunkIdBytes + k])
        return corrupt('another chunk is in its place', { file, offset: from });
    }
    const same =
      found.storedLen === trailer.storedLen[i] &&
      found.rawLen === trailer.rawLen[i] &&
      found.kind === trailer.kind[i] &&
      found.codec === trailer.codec[i];
    return same ? undefined : corrupt('frame and trailer do not agree', { file, offset: from });
  }

  /** Frames from the front up to the first that is not whole: what can still be told without a trailer. */
  async #scan(): Promise<void> {
    const bytes = this.#bytes;
    const found = new ChunkFrame();
    let pos = segmentDataFrom;
    while (pos + chunkFrame.size <= bytes.length) {
      if (checkChunkFrame(bytes, pos, bytes.length, found) !== 'ok' || found.codec !== codecs.raw) return;
      const { next } = found;
      await this.#hash(found, pos);
      pos = next;
    }
  }

  async #hash(found: ChunkFrame, from: number): Promise<void> {
    this.#idAts.push(found.idAt);
    const added = this.#ids.add(this.#bytes, found.idAt, found.payloadFrom, found.payloadTo, from);
    if (added !== undefined) await added;
    const rest = this.#options.pause?.();
    if (rest !== undefined) await rest;
  }
}
