/**
 * Sees that a vault has every chunk of a value, uploading what it lacks from a live store, list nodes behind
 * their children.
 */
import { type ChunkLocation, chunkIdBytes, chunkKinds } from '../format/chunk-ref.ts';
import { recordForms, refHint, refIdAt, refRawLen, type ValueRecord } from '../format/value-record.ts';
import type { SegmentSet } from '../segment/segment-set.ts';
import type { ChunkTree } from '../tree/chunk-tree.ts';
import { ChunkTable } from './chunk-table.ts';
import { visitChunks } from './key-tree-walk.ts';
import { LiveFrames } from './live-frames.ts';
import type { Upload } from './upload.ts';
import type { VaultIndex } from './vault-index.ts';

/** Where the chunks of a live store are. */
export interface LiveChunks {
  readonly segments: SegmentSet;
  readonly chunks: ChunkTree;
}

export class ValueUpload {
  readonly #index: VaultIndex;
  readonly #upload: Upload;
  readonly #dryRun: boolean;
  readonly #frames: LiveFrames;
  /** List nodes whose children were seen to. */
  readonly #seen = new ChunkTable();

  /** `index`: what the vault has. All are borrowed. */
  constructor({ segments, chunks }: LiveChunks, index: VaultIndex, upload: Upload, dryRun: boolean) {
    this.#index = index;
    this.#upload = upload;
    this.#dryRun = dryRun;
    this.#frames = new LiveFrames(segments, chunks);
  }

  /** VARVE_CORRUPT when a chunk that the vault lacks is damaged or missing in the store. */
  async ensure(record: ValueRecord): Promise<void> {
    if (record.form === recordForms.list) {
      for (let i = 0; i < record.chunks; i++) {
        const known = this.#index.has(record.buf, refIdAt(record, i));
        if (typeof known === 'boolean' ? known : await known) continue;
        const { buf } = record;
        const hint = refHint(record, i);
        const fetched = this.#fetch(buf, refIdAt(record, i), hint, refRawLen(record, i), chunkKinds.data);
        if (fetched !== undefined) await fetched;
      }
      return;
    }
    await visitChunks(record, {
      data: (buf, idAt, rawLen) => {
        const known = this.#index.has(buf, idAt);
        if (known === true) return undefined;
        if (known === false) return this.#fetch(buf, idAt, undefined, rawLen, chunkKinds.data);
        return known.then((isThere) => {
          if (!isThere) return this.#fetch(buf, idAt, undefined, rawLen, chunkKinds.data);
        });
      },
      node: async (buf, idAt) => {
        if (this.#seen.has(buf, idAt)) return undefined;
        const { buf: bytes, frame } = await this.#frames.read(buf, idAt, undefined);
        return bytes.slice(frame.payloadFrom, frame.payloadTo);
      },
      // Behind its children: a node in the vault was never without them.
      left: async (id, node) => {
        this.#seen.add(id, 0, 0, 0, 0, 0, 0, 0);
        if (!(await this.#index.has(id))) await this.#upload.addChunk(id, node, chunkKinds.list);
      },
    });
  }

  #fetch(
    buf: Uint8Array,
    idAt: number,
    hint: ChunkLocation | undefined,
    rawLen: number,
    kind: number,
  ): void | Promise<void> {
    if (this.#dryRun) {
      this.#upload.count(buf.slice(idAt, idAt + chunkIdBytes), rawLen, kind);
      return undefined;
    }
    const found = this.#frames.readNow(buf, idAt, hint, this.#upload.needsProof);
    if (found === undefined) return this.#read(buf, idAt, hint);
    return this.#upload.addFrame(found.buf, found.pos, found.frame);
  }

  async #read(buf: Uint8Array, idAt: number, hint: ChunkLocation | undefined): Promise<void> {
    const found = await this.#frames.read(buf, idAt, hint, this.#upload.needsProof);
    await this.#upload.addFrame(found.buf, found.pos, found.frame);
  }
}
