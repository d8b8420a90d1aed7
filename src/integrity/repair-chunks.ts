/**
 * The chunk index made anew from what it is derived from: references from the rows of the key tree and the
 * list nodes they lead to, places from the segments.
 *
 * Memory: the ids of list nodes that are in use, and a part of the index at a time: ids are gone through in
 * order of their first bytes, in as many passes over rows and trailers as the budget asks for.
 */

import type { FileNo, Seq } from '../base/brands.ts';
import { fromHex, toHex } from '../base/bytes.ts';
import { isDamage } from '../base/errors.ts';
import { MiB } from '../base/limits.ts';
import type { CatalogTable } from '../format/catalog.ts';
import { chunkIdBytes, chunkKinds } from '../format/chunk-ref.ts';
import { chunkEntry } from '../format/chunk-table.ts';
import { filePath } from '../format/file-names.ts';
import { type ListNode, parseListNode } from '../format/list-node.ts';
import { rowKinds } from '../format/row-kinds.ts';
import type { Trailer } from '../format/segment.ts';
import { recordForm, recordForms, recordKind, visitRecordRefs } from '../format/value-record.ts';
import type { FsPort } from '../fs/port.ts';
import { SegmentReader } from '../segment/segment-reader.ts';
import { FrozenChunks } from '../tree/chunk-cursor.ts';
import { ChunkMemtable, chunkFlags } from '../tree/chunk-memtable.ts';
import { writeChunkTable } from '../tree/chunk-table-writer.ts';
import type { RowSource } from '../tree/cursor.ts';
import { walkRows } from './key-walk.ts';
import type { FramePlace, UsableSegment } from './repair-segments.ts';

/** Entries of the index made at once: 72 B each. */
const entriesEach = Math.floor((64 * MiB) / (chunkEntry.size + 16));

export interface ChunkRepair {
  readonly fs: FsPort;
  readonly dbUuid: Uint8Array;
  readonly random: (n: number) => Uint8Array;
  readonly takeFileNo: () => FileNo;
  readonly dryRun: boolean;
  /** Rows of the key tree, from the front, as often as asked. */
  readonly rows: () => RowSource;
  readonly segments: readonly UsableSegment[];
  readonly nodes: ReadonlyMap<string, FramePlace>;
  /** Number the tables are written under. */
  readonly seq: Seq;
  readonly pause: () => Promise<void> | undefined;
  /** Stores a chunk that was found elsewhere; undefined when it was not. */
  readonly heal: (id: string, kind: number) => Promise<{ place: FramePlace; bytes: Uint8Array } | undefined>;
  /** Entries of the index made at once; for tests. */
  readonly entriesEach?: number;
}

export interface RepairedChunks {
  readonly tables: CatalogTable[];
  readonly entries: number;
  /** Ids (hex) of chunks that are nowhere, and of the nodes above them. */
  readonly lost: Set<string>;
  /** How many of them are nowhere themselves. */
  readonly lostCount: number;
  /** Segments that some entry names. */
  readonly used: ReadonlySet<FileNo>;
  readonly healed: number;
}

/** Makes the index; with dryRun nothing is written. VARVE_NO_SPACE, VARVE_IO, VARVE_CORRUPT. */
export async function rebuildChunks(work: ChunkRepair): Promise<RepairedChunks> {
  const rebuild = new Rebuild(work);
  await rebuild.findNodes();
  return await rebuild.run();
}

class Rebuild {
  readonly #work: ChunkRepair;
  /** Nodes in use that are there, by id (hex). */
  readonly #nodes = new Map<string, FramePlace>();
  readonly #lost = new Set<string>();
  readonly #used = new Set<FileNo>();
  readonly #tables: CatalogTable[] = [];
  readonly #readers = new Map<FileNo, SegmentReader>();
  #entries = 0;
  #lostCount = 0;
  #healed = 0;

  constructor(work: ChunkRepair) {
    this.#work = work;
  }

  /** Every node that a row leads to. */
  async findNodes(): Promise<void> {
    let open = new Set<string>();
    await walkRows(
      this.#work.rows(),
      ({ valueBytes: buf, valueFrom: from, valueTo: to, isGone }) => {
        if (isGone || recordKind(buf, from) !== rowKinds.put || recordForm(buf, from) !== recordForms.tree)
          return;
        visitRecordRefs(buf, from, to, (at) => open.add(toHex(buf.subarray(at, at + chunkIdBytes))));
      },
      this.#work.pause,
    );
    while (open.size > 0) {
      const below = new Set<string>();
      for (const id of open) {
        if (this.#nodes.has(id) || this.#lost.has(id)) continue;
        const node = await this.#take(id);
        if (node === undefined) {
          this.#lost.add(id);
          continue;
        }
        if (node.level === 0) continue;
        for (let i = 0; i < node.count; i++) {
          const at = node.childIdAt(i);
          below.add(toHex(node.bytes.subarray(at, at + chunkIdBytes)));
        }
      }
      open = below;
    }
  }

  /** Finds a node, in the segments or elsewhere. */
  async #take(id: string): Promise<ListNode | undefined> {
    const place = this.#work.nodes.get(id);
    const node = place === undefined ? undefined : await this.#read(id, place);
    if (place !== undefined && node !== undefined) {
      this.#nodes.set(id, place);
      return node;
    }
    const healed = await this.#work.heal(id, chunkKinds.list);
    if (healed === undefined) return undefined;
    this.#healed++;
    this.#nodes.set(id, healed.place);
    return parseListNode(healed.bytes, { file: filePath('seg', healed.place.segment) });
  }

  async #read(id: string, { segment, off8, storedLen }: FramePlace): Promise<ListNode | undefined> {
    const { fs, dbUuid } = this.#work;
    let reader = this.#readers.get(segment);
    if (reader === undefined) {
      if (this.#readers.size >= 64) await this.#closeReaders();
      reader = await SegmentReader.open(fs, segment, dbUuid);
      this.#readers.set(segment, reader);
    }
    try {
      const bytes = await reader.readFrame(off8, storedLen, fromHex(id));
      return bytes === undefined ? undefined : parseListNode(bytes, { file: reader.path, offset: off8 * 8 });
    } catch (error) {
      if (!isDamage(error)) throw error;
      return undefined;
    }
  }

  async run(): Promise<RepairedChunks> {
    const frames = this.#work.segments.reduce((sum, { info }) => sum + info.frames, 0);
    const each = this.#work.entriesEach ?? entriesEach;
    const parts = Math.min(65_536, Math.max(1, Math.ceil(frames / each)));
    try {
      for (let part = 0; part < parts; part++) {
        const from = Math.floor((part * 65_536) / parts);
        await this.#part(from, Math.floor(((part + 1) * 65_536) / parts));
      }
      await this.#blameParents();
    } finally {
      await this.#closeReaders();
    }
    return {
      tables: this.#tables,
      entries: this.#entries,
      lost: this.#lost,
      lostCount: this.#lostCount,
      used: this.#used,
      healed: this.#healed,
    };
  }

  /** The entries whose first two bytes are from..to-1. */
  async #part(from: number, to: number): Promise<void> {
    const { rows, pause, segments, seq } = this.#work;
    const table = new ChunkMemtable({ bytesMax: 2 ** 30 });
    const isHere = (id: Uint8Array, at: number): boolean => {
      const prefix = (id[at]! << 8) | id[at + 1]!;
      return prefix >= from && prefix < to;
    };
    const count = (id: Uint8Array, at: number): void => {
      if (isHere(id, at)) table.addRefs(id, at, 1);
    };
    await walkRows(
      rows(),
      ({ valueBytes, valueFrom, valueTo, isGone }) => {
        if (!isGone) visitRecordRefs(valueBytes, valueFrom, valueTo, (at) => count(valueBytes, at));
      },
      pause,
    );
    for (const [id, place] of this.#nodes) {
      const node = await this.#read(id, place);
      for (let i = 0; i < (node?.count ?? 0); i++) count(node!.bytes, node!.childIdAt(i));
    }
    for (const segment of segments) await this.#locate(segment, table);
    await this.#settle(table);
    if (table.entries === 0) return;
    table.note(seq);
    table.freeze();
    this.#entries += table.entries;
    await this.#write(table);
  }

  /** Gives the entries that lie in a segment their place; the first one found counts. */
  async #locate({ info, trailer: held }: UsableSegment, table: ChunkMemtable): Promise<void> {
    const { ids, count, off8, storedLen, rawLen, kind, codec } = held ?? (await this.#trailerOf(info));
    for (let i = 0; i < count; i++) {
      const slot = table.find(ids, i * chunkIdBytes);
      if (slot === -1 || (table.flagsAt(slot) & chunkFlags.hasLocation) !== 0) continue;
      if (kind[i] === chunkKinds.list) {
        // A node is where it was read: only there it is known to be whole.
        const place = this.#nodes.get(toHex(ids.subarray(i * chunkIdBytes, (i + 1) * chunkIdBytes)));
        if (place?.segment !== info.no || place.off8 !== off8[i]) continue;
      }
      table.setLocation(
        ids,
        i * chunkIdBytes,
        info.no,
        off8[i]!,
        storedLen[i]!,
        rawLen[i]!,
        kind[i]!,
        codec[i]!,
      );
      this.#used.add(info.no);
    }
  }

  async #trailerOf(info: UsableSegment['info']): Promise<Trailer> {
    const { fs, dbUuid } = this.#work;
    const reader = await SegmentReader.open(fs, info.no, dbUuid);
    try {
      return await reader.readTrailer(info);
    } finally {
      await reader.close();
    }
  }

  /** Entries without a place: healed ones have one, the others are lost. */
  async #settle(table: ChunkMemtable): Promise<void> {
    for (let slot = 0; slot < table.entries; slot++) {
      if ((table.flagsAt(slot) & chunkFlags.hasLocation) !== 0) continue;
      const at = table.idFrom(slot);
      const id = table.ids.slice(at, at + chunkIdBytes);
      const name = toHex(id);
      const node = this.#nodes.get(name);
      const kind = node === undefined ? chunkKinds.data : chunkKinds.list;
      const place = node ?? (this.#lost.has(name) ? undefined : await this.#healData(name));
      if (place === undefined) {
        this.#lost.add(name);
        this.#lostCount++;
        continue;
      }
      table.setLocation(id, 0, place.segment, place.off8, place.storedLen, place.storedLen, kind, 0);
      this.#used.add(place.segment);
    }
  }

  async #healData(id: string): Promise<FramePlace | undefined> {
    const healed = await this.#work.heal(id, chunkKinds.data);
    if (healed !== undefined) this.#healed++;
    return healed?.place;
  }

  async #write(table: ChunkMemtable): Promise<void> {
    const { fs, dbUuid, random, takeFileNo, seq, dryRun } = this.#work;
    if (dryRun) return;
    this.#tables.push(
      await writeChunkTable(fs, {
        no: takeFileNo(),
        level: 1,
        dbUuid,
        salt: random(12),
        entries: new FrozenChunks(table),
        entriesMax: table.entries,
        minSeq: seq,
        maxSeq: seq,
      }),
    );
  }

  /** A node with a lost child is of no use either: what leads to it is incomplete. */
  async #blameParents(): Promise<void> {
    for (let grown = this.#lost.size > 0; grown; ) {
      grown = false;
      for (const [id, place] of this.#nodes) {
        if (this.#lost.has(id)) continue;
        const node = await this.#read(id, place);
        for (let i = 0; i < (node?.count ?? 0); i++) {
          const at = node!.childIdAt(i);
          if (!this.#lost.has(toHex(node!.bytes.subarray(at, at + chunkIdBytes)))) continue;
          this.#lost.add(id);
          grown = true;
          break;
        }
      }
    }
  }

  async #closeReaders(): Promise<void> {
    const readers = Array.from(this.#readers.values());
    this.#readers.clear();
    for (const reader of readers) await reader.close();
  }
}
