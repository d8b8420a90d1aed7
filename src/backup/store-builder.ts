/**
 * Builds the files of a new store from rows and chunk frames: segments, tables and one catalog, and SUPER
 * last, so that until the end there is no store. What an unfinished run has left in sealed segments is used
 * again.
 *
 * Memory: the memtables' budget, write buffers of the segment that fills and of the one that is sealed behind
 * it.
 *
 * Invariants (test/backup/backup.test.ts, test/backup/vault-crash.test.ts)
 * - References are what replaying the puts would count: one for each that a record names, one for each child
 *   of a list node that is in the store ("a restored store counts its references as its source did").
 * - A crash at any operation leaves no store, and the next run completes it ("of the target of a
 *   restore: there is no store, and the restore goes on").
 */
import type { FileNo, Seq } from '../base/brands.ts';
import { MiB } from '../base/limits.ts';
import { BlockCache } from '../cache/block-cache.ts';
import { publishStore, type StoreIdentity } from '../catalog/catalog-create.ts';
import type { CatalogTable } from '../format/catalog.ts';
import { ChunkFrame, frameBytes as chunkFrameBytes, describeChunkFrame } from '../format/chunk-frame.ts';
import { type ChunkLocation, chunkIdBytes, chunkKinds, codecs } from '../format/chunk-ref.ts';
import { storeDirs } from '../format/file-names.ts';
import { encodeSysKey, seqBytes, writeSeq } from '../format/internal-key.ts';
import { parseListNode } from '../format/list-node.ts';
import { rowKinds } from '../format/row-kinds.ts';
import { type SealedSegment, streamClasses } from '../format/segment.ts';
import { trees } from '../format/trees.ts';
import { noteDurableDir } from '../fs/dirs.ts';
import type { FsPort } from '../fs/port.ts';
import { SegmentWriter } from '../segment/segment-writer.ts';
import { DirectBuffers } from '../segment/write-buffer.ts';
import { FrozenChunks } from '../tree/chunk-cursor.ts';
import { ChunkHit, ChunkTable as TreeChunkTable } from '../tree/chunk-table-reader.ts';
import { writeChunkTable } from '../tree/chunk-table-writer.ts';
import { ChunkTree } from '../tree/chunk-tree.ts';
import { MISS, OK } from '../tree/cursor.ts';
import { KeyMemtable } from '../tree/key-memtable.ts';
import { writeKeyTable } from '../tree/table-writer.ts';

export interface BuilderOptions {
  readonly identity: StoreIdentity;
  /** The commit the store will stand at; 1 at least where there is a row. */
  readonly seq: Seq;
  readonly random: (bytes: number) => Uint8Array;
  /** A segment is sealed from this size on. */
  readonly segmentBytes: number;
  readonly memtableBytes: number;
}

const cacheBytes: number = 8 * MiB;
/** What was written is synced in the background after so many bytes: a seal has little left to wait for. */
const syncAheadBytes: number = 16 * MiB;

export class StoreBuilder {
  readonly #fs: FsPort;
  readonly #options: BuilderOptions;
  readonly #chunks: ChunkTree;
  readonly #cache = new BlockCache(cacheBytes);
  readonly #direct = new DirectBuffers();
  readonly #hit = new ChunkHit();
  readonly #frame = new ChunkFrame();
  readonly #tables: CatalogTable[] = [];
  readonly #sealed: SealedSegment[] = [];
  #keys: KeyMemtable;
  #system: KeyMemtable;
  #data: SegmentWriter | undefined;
  #nodes: SegmentWriter | undefined;
  /** A full segment on its way to being sealed, while the next one fills. Never rejects. */
  #sealing: Promise<void> | undefined;
  /** Why a seal has failed. */
  #failed: { readonly error: unknown } | undefined;
  #nextNo: FileNo = 1;
  #key = new Uint8Array(1024);
  /** Bytes of the frames written. */
  bytes = 0;

  private constructor(fs: FsPort, options: BuilderOptions) {
    this.#fs = fs;
    this.#options = options;
    this.#chunks = new ChunkTree(options.memtableBytes, []);
    this.#keys = new KeyMemtable({ bytesMax: options.memtableBytes });
    this.#system = new KeyMemtable({ bytesMax: options.memtableBytes });
  }

  /** Makes the directories. */
  static async create(fs: FsPort, options: BuilderOptions): Promise<StoreBuilder> {
    for (const dir of storeDirs) await fs.mkdir(dir);
    await fs.syncDir('');
    for (const dir of storeDirs) noteDurableDir(fs, dir);
    return new StoreBuilder(fs, options);
  }

  /** Numbers of new files are above `no`. */
  raiseFileNo(no: FileNo): void {
    this.#nextNo = Math.max(this.#nextNo, no + 1);
  }

  /** Takes a sealed segment that is there, whole and durable. */
  async adoptSegment(sealed: SealedSegment, frames: readonly AdoptedFrame[]): Promise<void> {
    this.raiseFileNo(sealed.no);
    this.#sealed.push(sealed);
    for (const { id, off8, storedLen, rawLen, kind, codec } of frames) {
      this.#chunks.setLocation(id, 0, sealed.no, off8, storedLen, rawLen, kind, codec);
      this.#chunks.note(this.#options.seq);
      if (this.#chunks.active.full) await this.#flushChunks();
    }
  }

  /** Where a chunk lies in the new store; undefined when it is not there yet. */
  async find(id: Uint8Array, idAt: number): Promise<ChunkLocation | undefined> {
    const hit = this.#hit;
    if ((await this.#chunks.findAsync(id, idAt, hit)) !== OK) return undefined;
    const { segment, off8, storedLen, rawLen } = hit;
    return { segment, off8, storedLen, rawLen };
  }

  /** As `find` where nothing must be read, borrowed until the next call; undefined also where it must. */
  findNow(id: Uint8Array, idAt: number): Readonly<ChunkLocation> | undefined {
    return this.#chunks.find(id, idAt, this.#hit) === OK ? this.#hit : undefined;
  }

  /** Whether a chunk is in the new store; undefined where something must be read to tell: ask `find`. */
  hasNow(id: Uint8Array, idAt: number): boolean | undefined {
    const step = this.#chunks.find(id, idAt, this.#hit);
    return step === MISS ? undefined : step === OK;
  }

  /**
   * Stores the checked frame at buf[pos..frame.next), copied. A promise: wait for it before the next call.
   */
  addFrame(buf: Uint8Array, pos: number, frame: ChunkFrame): void | Promise<void> {
    const isNode = frame.kind === chunkKinds.list;
    const writer = this.#openWriter(isNode, frame.next - pos);
    if (writer !== undefined) return this.#append(writer, buf, pos, frame);
    return this.#nextWriter(isNode).then((next) => this.#append(next, buf, pos, frame));
  }

  /**
   * Stores the checked frames that lie back to back in `bytes`, `count` of them. With `done` they are data
   * and written from where they lie: `bytes` must not change before it is called, once, whatever happens;
   * without they are copied. Wait for it before the next call.
   */
  async addRun(bytes: Uint8Array, count: number, done?: () => void): Promise<void> {
    if (done !== undefined) {
      await this.#addLent(bytes, count, done);
      return;
    }
    const frame = this.#frame;
    for (let i = 0, pos = 0; i < count; i++) {
      describeChunkFrame(bytes, pos, frame);
      const added = this.addFrame(bytes, pos, frame);
      pos = frame.next;
      if (added !== undefined) await added;
    }
  }

  async #addLent(bytes: Uint8Array, count: number, done: () => void): Promise<void> {
    const { length } = bytes;
    let pos = 0;
    const describe = (_i: number, frame: ChunkFrame): void => {
      describeChunkFrame(bytes, pos, frame);
      pos = frame.next;
    };
    let writer: SegmentWriter;
    let off8: number;
    try {
      writer = this.#openWriter(false, length, count) ?? (await this.#nextWriter(false));
      off8 = writer.appendRun(bytes, length, count, describe, done);
    } catch (error) {
      done();
      throw error;
    }
    const frame = this.#frame;
    for (pos = 0; pos < length; pos = frame.next) {
      describeChunkFrame(bytes, pos, frame);
      const { idAt, storedLen, rawLen, kind, codec } = frame;
      this.#chunks.setLocation(bytes, idAt, writer.no, off8 + pos / 8, storedLen, rawLen, kind, codec);
    }
    this.#chunks.note(this.#options.seq);
    this.bytes += length;
    if (writer.needsDrain || this.#chunks.active.full) await this.#makeRoom(writer);
  }

  /** Counts one reference. */
  addRef(id: Uint8Array, idAt: number): void {
    this.#chunks.addRefs(id, idAt, 1);
    this.#chunks.note(this.#options.seq);
  }

  /** Stores a list node (copied), unless it is there, and counts its children: once for each node. */
  async addNode(id: Uint8Array, node: Uint8Array): Promise<void> {
    const hit = this.#hit;
    // Equal bytes that were stored as data are no node.
    const known = (await this.#chunks.findAsync(id, 0, hit)) === OK && hit.kind === chunkKinds.list;
    if (!known) {
      const writer = this.#openWriter(true, chunkFrameBytes(node.length)) ?? (await this.#nextWriter(true));
      const off8 = writer.append(id, 0, node, 0, node.length, chunkKinds.list, codecs.raw, node.length);
      const { length } = node;
      this.#chunks.setLocation(id, 0, writer.no, off8, length, length, chunkKinds.list, codecs.raw);
      this.#chunks.note(this.#options.seq);
      this.bytes += length;
      if (writer.needsDrain) await writer.drain();
    }
    const list = parseListNode(node, { file: 'list node' });
    for (let i = 0; i < list.count; i++) this.addRef(node, list.childIdAt(i));
  }

  /** Adds a row of the key tree; rows come in order. */
  async addRow(prefix: Uint8Array, seq: Seq, record: Uint8Array): Promise<void> {
    const length = prefix.length;
    if (length + seqBytes > this.#key.length) this.#key = new Uint8Array(2 * (length + seqBytes));
    this.#key.set(prefix);
    const end = writeSeq(this.#key, length, seq);
    this.#keys.insert(this.#key, 0, end, record, 0, record.length);
    if (this.#keys.full) await this.#flushKeys();
    if (this.#chunks.active.full) await this.#flushChunks();
  }

  /** Adds a row of the system tree, in any order, each key once. */
  async addSystemRow(sysKey: Uint8Array, seq: Seq, value: Uint8Array): Promise<void> {
    const key = encodeSysKey(sysKey, seq);
    const row = new Uint8Array(1 + value.length);
    row[0] = rowKinds.put;
    row.set(value, 1);
    this.#system.insert(key, 0, key.length, row, 0, row.length);
    if (this.#system.full) await this.#flushSystem();
  }

  /** Makes everything durable and, as the last step, a store. `features`: bits of the catalog. */
  async finish(features: number): Promise<void> {
    await this.#seal('data');
    await this.#seal('nodes');
    await this.#flushKeys();
    await this.#flushSystem();
    await this.#flushChunks();
    await this.#allSealed();
    const { identity, seq, random } = this.#options;
    const no = this.#nextNo++;
    const catalog = {
      no,
      generation: 4,
      previousCatalogNo: 0,
      checkpointSeq: seq,
      walFirstNo: 0,
      nextFileNo: this.#nextNo,
      timelineId: identity.timelineId,
      features,
      tables: this.#tables,
      sealed: [...this.#sealed].sort((a, b) => a.no - b.no),
      unsealed: [],
      dropped: [],
    };
    await publishStore(this.#fs, identity, catalog, random);
    await this.close();
  }

  /** Closes what is open; nothing is a store unless `finish` has resolved. */
  async close(): Promise<void> {
    await this.#sealing;
    await this.#data?.close();
    await this.#nodes?.close();
    this.#data = undefined;
    this.#nodes = undefined;
    const { tables } = this.#chunks;
    this.#chunks.close();
    await Promise.all(tables.map((table) => table.closed()));
  }

  #append(writer: SegmentWriter, buf: Uint8Array, pos: number, frame: ChunkFrame): void | Promise<void> {
    const off8 = writer.appendFrame(buf, pos, frame);
    const { idAt, storedLen, rawLen, kind, codec } = frame;
    this.#chunks.setLocation(buf, idAt, writer.no, off8, storedLen, rawLen, kind, codec);
    this.#chunks.note(this.#options.seq);
    this.bytes += frame.next - pos;
    if (writer.needsDrain || this.#chunks.active.full) return this.#makeRoom(writer);
  }

  async #makeRoom(writer: SegmentWriter): Promise<void> {
    if (writer.needsDrain) await writer.drain();
    if (this.#chunks.active.full) await this.#flushChunks();
  }

  /** Undefined where the next one is to be made first. */
  #openWriter(isNode: boolean, length: number, count = 1): SegmentWriter | undefined {
    const open = isNode ? this.#nodes : this.#data;
    const fits = open !== undefined && open.end < this.#options.segmentBytes && open.fits(length, count);
    return fits ? open : undefined;
  }

  async #nextWriter(isNode: boolean): Promise<SegmentWriter> {
    await this.#seal(isNode ? 'nodes' : 'data');
    const { identity, random } = this.#options;
    const writer = await SegmentWriter.create(this.#fs, {
      no: this.#nextNo++,
      class: isNode ? streamClasses.list : streamClasses.data0,
      dbUuid: identity.dbUuid,
      salt: random(12),
      syncAheadBytes,
      direct: this.#direct,
    });
    // A few segments fill before anybody reads what was restored.
    if (!isNode && this.#sealed.length > 0) writer.expectBulk();
    if (isNode) this.#nodes = writer;
    else this.#data = writer;
    return writer;
  }

  /** Begins to seal, once the one before is. Throws what that one failed with. */
  async #seal(which: 'data' | 'nodes'): Promise<void> {
    const writer = which === 'data' ? this.#data : this.#nodes;
    if (writer === undefined) return;
    await this.#allSealed();
    if (which === 'data') this.#data = undefined;
    else this.#nodes = undefined;
    this.#sealing = this.#sealNow(writer);
  }

  async #sealNow(writer: SegmentWriter): Promise<void> {
    try {
      this.#sealed.push(await writer.seal());
    } catch (error) {
      this.#failed ??= { error };
    }
    try {
      await writer.close();
    } catch (error) {
      this.#failed ??= { error };
    }
  }

  /** Resolves when no seal is under way; throws what one has failed with. */
  async #allSealed(): Promise<void> {
    await this.#sealing;
    if (this.#failed !== undefined) throw this.#failed.error;
  }

  #identity(tree: number, level: number) {
    const { identity, random } = this.#options;
    return { no: this.#nextNo++, tree, level, dbUuid: identity.dbUuid, salt: random(12) };
  }

  /** Rows come in order, so tables of keys do not overlap: they may lie in level 1. */
  async #flushKeys(): Promise<void> {
    const memtable = this.#keys;
    if (memtable.entries === 0) return;
    memtable.freeze();
    this.#keys = new KeyMemtable({ bytesMax: this.#options.memtableBytes });
    this.#tables.push(
      await writeKeyTable(this.#fs, { ...this.#identity(trees.K, 1), rows: memtable.cursor() }),
    );
  }

  async #flushSystem(): Promise<void> {
    const memtable = this.#system;
    if (memtable.entries === 0) return;
    memtable.freeze();
    this.#system = new KeyMemtable({ bytesMax: this.#options.memtableBytes });
    this.#tables.push(
      await writeKeyTable(this.#fs, { ...this.#identity(trees.S, 0), rows: memtable.cursor() }),
    );
  }

  async #flushChunks(): Promise<void> {
    const frozen = this.#chunks.freeze();
    if (frozen === undefined) return;
    const { minSeq, maxSeq, entries: entriesMax } = frozen;
    const { tree: _tree, ...identity } = this.#identity(trees.C, 0);
    const source = { entries: new FrozenChunks(frozen), entriesMax, minSeq, maxSeq };
    const meta = await writeChunkTable(this.#fs, { ...identity, ...source });
    this.#tables.push(meta);
    const { dbUuid } = this.#options.identity;
    this.#chunks.replaceFrozen(
      frozen,
      await TreeChunkTable.open(this.#fs, meta, { dbUuid, cache: this.#cache }),
    );
  }
}

/** A frame of an adopted segment; `id` has 32 bytes. */
export interface AdoptedFrame {
  readonly id: Uint8Array;
  readonly off8: number;
  readonly storedLen: number;
  readonly rawLen: number;
  readonly kind: number;
  readonly codec: number;
}

/** The id of frame `i` of a trailer; a view. */
export function idAtFrame(ids: Uint8Array, i: number): Uint8Array {
  return ids.subarray(i * chunkIdBytes, (i + 1) * chunkIdBytes);
}
