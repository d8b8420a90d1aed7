/**
 * The way from a stretch of a pack in memory into the store: what has the right digest is written from where
 * it lies, runs of frames at once; of what has not another copy is looked for.
 */
import { isDamage, isVarveError, type VarveError } from '../base/errors.ts';
import { KiB } from '../base/limits.ts';
import { ChunkFrame, chunkFrame } from '../format/chunk-frame.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';
import { sha256Bytes } from '../kernels/hash/sha256.ts';
import type { IntakeWindow } from './intake-window.ts';
import type { StoreBuilder } from './store-builder.ts';
import type { ReadFrame, VaultReader } from './vault-reader.ts';

/** Runs that are shorter, and than a fourth of a buffer, are copied: a write each would cost more. */
const runBytesMin: number = 128 * KiB;
/** Both borrowed. */
interface Target {
  /** Where other copies are read. */
  readonly reader: VaultReader;
  readonly builder: StoreBuilder;
}

export class IntakeStore {
  readonly #options: Target;
  readonly #written: (window: IntakeWindow) => void;
  readonly #frame = new ChunkFrame();

  /** `written` is called for each run of a stretch that was written; its `writing` counts the others. */
  constructor(options: Target, written: (window: IntakeWindow) => void) {
    this.#options = options;
    this.#written = written;
  }

  /**
   * Stores what is wanted of a stretch, whose wanted frames have `digests`; returns the frames that are not
   * to be had. Wait for it before the next call.
   */
  async take(window: IntakeWindow, digests: Uint8Array): Promise<number[]> {
    const { count, bytes, positions } = window.frames;
    const lost: number[] = [];
    let run = -1;
    for (let i = 0, digest = 0; i <= count; i++) {
      const isWanted = i < count && window.isWanted(i);
      const fault = isWanted ? window.faultOf(i, digests, digest++ * sha256Bytes, this.#frame) : undefined;
      const isWhole = isWanted && fault === undefined;
      if (isWhole && window.isData(i)) {
        if (run < 0) run = i;
        continue;
      }
      const pos = positions[i]!;
      if (run >= 0) await this.#storeRun(window, run, i);
      run = -1;
      // Where equal bytes were stored as a list node.
      if (isWhole) await this.#options.builder.addRun(bytes.subarray(pos, positions[i + 1]!), 1);
      if (fault !== undefined && !(await this.#storeCopy(window, i, fault))) lost.push(i);
    }
    return lost;
  }

  /** Frames `from` to `to` - 1, which lie behind each other. */
  async #storeRun(window: IntakeWindow, from: number, to: number): Promise<void> {
    const { bytes, positions } = window.frames;
    const run = bytes.subarray(positions[from]!, positions[to]!);
    if (run.length < Math.min(runBytesMin, window.shared.byteLength / 4)) {
      await this.#options.builder.addRun(run, to - from);
      return;
    }
    window.writing++;
    await this.#options.builder.addRun(run, to - from, () => this.#written(window));
  }

  /** Another copy of a chunk that is not whole; false where there is none, and its owners are told. */
  async #storeCopy(window: IntakeWindow, i: number, fault: VarveError): Promise<boolean> {
    const { builder, reader } = this.#options;
    const { bytes, positions } = window.frames;
    const idAt = positions[i]! + chunkFrame.at.chunkId;
    let copy: ReadFrame;
    try {
      copy = await reader.readCopy(bytes.slice(idAt, idAt + chunkIdBytes), fault);
    } catch (error) {
      if (!isDamage(error) && !isVarveError(error, 'VARVE_FORMAT_VERSION')) throw error;
      for (const owner of window.ownersOf(i)) owner.failed ??= error;
      return false;
    }
    await builder.addFrame(copy.buf, copy.pos, copy.frame);
    return true;
  }
}
