/**
 * Reads chunk frames of a store as they lie there, whole and checked, reading ahead within each segment.
 *
 * Memory: `runsMax` runs of about 1 MiB.
 */

import { toHex } from '../base/bytes.ts';
import { corrupt, isVarveError, type VarveError } from '../base/errors.ts';
import { MiB } from '../base/limits.ts';
import { ChunkFrame, chunkFrame, chunkFrameError, frameBytes } from '../format/chunk-frame.ts';
import { type ChunkLocation, chunkIdBytes, codecs } from '../format/chunk-ref.ts';
import { filePath } from '../format/file-names.ts';
import type { FrameRun } from '../segment/segment-reader.ts';
import type { SegmentSet } from '../segment/segment-set.ts';
import { ChunkHit } from '../tree/chunk-table-reader.ts';
import type { ChunkTree } from '../tree/chunk-tree.ts';
import { OK } from '../tree/cursor.ts';
import { checkFrameId, hasFrameId } from './pack-reader.ts';
import type { ReadFrame } from './vault-reader.ts';

const runBytes: number = MiB;
const runsMax = 6;
const triesMax = 4;

interface Run extends FrameRun {
  readonly segment: number;
  /** For the run that takes its place. */
  readonly memory: Uint8Array;
}

export class LiveFrames {
  readonly #segments: SegmentSet;
  readonly #chunks: ChunkTree;
  readonly #runs: Run[] = [];
  readonly #hit = new ChunkHit();

  /** Both are borrowed for as long as this is used. */
  constructor(segments: SegmentSet, chunks: ChunkTree) {
    this.#segments = segments;
    this.#chunks = chunks;
  }

  /**
   * As `read`, where the frame lies in a run that was read and nothing must be read to find it; undefined
   * where something must, or it is not whole.
   */
  readNow(
    buf: Uint8Array,
    idAt: number,
    hint: ChunkLocation | undefined,
    prove = true,
  ): ReadFrame | undefined {
    let place: { segment: number; off8: number } | undefined = hint;
    if (place === undefined) {
      if (this.#chunks.find(buf, idAt, this.#hit) !== OK) return undefined;
      place = this.#hit;
    }
    const { segment, off8 } = place;
    for (const run of this.#runs) {
      if (run.segment !== segment) continue;
      const i = indexIn(run, off8);
      if (i < 0 || run.codec[i] !== codecs.raw) continue;
      const at = run.idAt[i]!;
      for (let k = 0; k < chunkIdBytes; k++) if (run.bytes[at + k] !== buf[idAt + k]) return undefined;
      const frame = frameOf(run, i);
      if (prove && !hasFrameId(run.bytes, frame)) return undefined;
      return { buf: run.bytes, pos: frame.payloadFrom - chunkFrame.size, frame };
    }
    return undefined;
  }

  /**
   * The frame of the chunk with the id at buf[idAt], whose bytes are those its id names; borrowed until the
   * next read. `hint` is tried first. VARVE_CORRUPT when it is missing or damaged. With `prove` false the
   * checksum of the frame is all that says so of its bytes: the caller holds them against the id.
   */
  async read(
    buf: Uint8Array,
    idAt: number,
    hint: ChunkLocation | undefined,
    prove = true,
  ): Promise<ReadFrame> {
    const id = buf.slice(idAt, idAt + chunkIdBytes);
    let damage: VarveError | undefined;
    if (hint !== undefined) {
      try {
        const found = await this.#at(hint.segment, hint.off8, id, prove);
        if (found !== undefined) return found;
      } catch (error) {
        if (!isVarveError(error, 'VARVE_CORRUPT')) throw error;
        damage = error;
      }
    }
    const row = new ChunkHit();
    // Cleaning may move a chunk between the lookup and the read.
    for (let tries = 0; tries < triesMax; tries++) {
      if ((await this.#chunks.findAsync(id, 0, row)) !== OK) break;
      const found = await this.#at(row.segment, row.off8, id, prove);
      if (found !== undefined) return found;
    }
    throw damage ?? corrupt(`chunk ${toHex(id)} is missing`, { file: filePath('seg', row.segment || 1) });
  }

  /** Undefined when the place is out of date. */
  async #at(segment: number, off8: number, id: Uint8Array, prove: boolean): Promise<ReadFrame | undefined> {
    let run = this.#runs.find((one) => one.segment === segment && indexIn(one, off8) >= 0);
    if (run === undefined) {
      const oldest = this.#runs.length === runsMax ? this.#runs.shift() : undefined;
      const memory = oldest?.memory ?? new Uint8Array(runBytes);
      const read = await this.#segments.readFrames(segment, off8, runBytes, memory);
      if (read === undefined) return undefined;
      run = { ...read, segment, memory };
      this.#runs.push(run);
    }
    const i = indexIn(run, off8);
    if (i < 0) return undefined;
    const idAt = run.idAt[i]!;
    for (let k = 0; k < chunkIdBytes; k++) if (run.bytes[idAt + k] !== id[k]) return undefined;
    // Checked when the run was read.
    const frame = frameOf(run, i);
    const file = filePath('seg', segment);
    if (frame.codec !== codecs.raw) throw chunkFrameError('unsupported', file, off8 * 8);
    if (prove) checkFrameId(run.bytes, frame, file, off8 * 8);
    return { buf: run.bytes, pos: frame.payloadFrom - chunkFrame.size, frame };
  }
}

function frameOf({ idAt, payloadFrom, storedLen, rawLen, kind, codec }: FrameRun, i: number): ChunkFrame {
  const frame = new ChunkFrame();
  frame.idAt = idAt[i]!;
  frame.payloadFrom = payloadFrom[i]!;
  frame.storedLen = storedLen[i]!;
  frame.payloadTo = frame.payloadFrom + frame.storedLen;
  frame.next = frame.payloadFrom - chunkFrame.size + frameBytes(frame.storedLen);
  frame.rawLen = rawLen[i]!;
  frame.kind = kind[i]!;
  frame.codec = codec[i]!;
  return frame;
}

/** Number of the frame at `off8` in the run, or -1. */
function indexIn({ off8: places, count }: FrameRun, off8: number): number {
  let low = 0;
  let high = count - 1;
  while (low <= high) {
    const middle = (low + high) >>> 1;
    if (places[middle] === off8) return middle;
    if (places[middle]! < off8) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}
