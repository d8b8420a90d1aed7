/**
 * One value on its way in: cut, hashed while its bytes are in the processor's cache, looked up, stored once.
 *
 * Large values stage their chunks as they go (STAGE frames), so memory stays bounded; what is staged and
 * never committed is ordinary garbage. Nothing of the value is visible before the transaction that names it.
 *
 * Invariants (test/value/value-ingest.test.ts):
 * - the chunks do not depend on how the bytes were split into pieces;
 * - every frame named by an op lies in a file of `files`, or was named by an earlier frame of the log;
 * - after `finish` or `abort` no window, lane or node registration is held;
 * - what it has found or stored stays claimed (chunk/put-guard.ts) until the trees hold it
 *   (test/engine/cleaner-schedules.test.ts).
 */

import { toHex } from '../base/bytes.ts';
import { Births } from '../chunk/births.ts';
import { type ChunkStore, type Found, found, newLocation } from '../chunk/chunk-store.ts';
import type { NodePresence } from '../chunk/node-presence.ts';
import type { PutClaims } from '../chunk/put-guard.ts';
import { listLane } from '../chunk/segment-lanes.ts';
import { type ChunkRef, chunkKinds } from '../format/chunk-ref.ts';
import type { ChunkerPool } from '../kernels/chunker/chunker.ts';
import { type IncrementalSha256, incrementalSha256, sha256 } from '../kernels/hash/sha256.ts';
import type { NamedFile } from '../log/group-end.ts';
import type { SegmentWriter } from '../segment/segment-writer.ts';
import { ChunkHit } from '../tree/chunk-table-reader.ts';
import type { ReadInto } from './direct-source.ts';
import { type CutThreads, StreamCutter } from './stream-cutter.ts';
import { type ValueBody, ValueBuilder } from './value-writer.ts';

/** Chunks of the tree a value relies on before a STAGE frame is written: up to 16 B each. */
const claimedIdsMax = 256 * 1024;

/** Births collected before a STAGE frame is written, where the context gives no other number. */
const stageBirthsDefault = 4096;

/** Chunks a transaction names: the births to log, the nodes among them and the files they lie in. */
export interface NamedChunks {
  readonly births: Births;
  /** Bytes of the list nodes among the births, by hex id: their children are counted when they are born. */
  readonly nodes: Map<string, Uint8Array>;
  readonly files: Set<NamedFile>;
}

export interface IngestContext {
  readonly store: ChunkStore;
  readonly chunkers: ChunkerPool;
  /** Threads for large values; undefined: everything on the calling thread. */
  readonly threads?: CutThreads | undefined;
  readonly presence: NodePresence;
  /**
   * Sequences a STAGE frame for the chunks; resolves when it is durable. Nodes that are in the tree already,
   * under another place, are added to `later`: a later frame names that place.
   */
  readonly stage: (named: NamedChunks, later: Births) => Promise<void>;
  /** Births collected before a STAGE frame is written; 4096 when not given. */
  readonly stageBirthsMax?: number | undefined;
  /** Lets the event loop turn between windows of one large buffer. */
  readonly turn: () => Promise<void>;
}

/** A value whose chunks are stored; `named` goes into the transaction that makes it visible. */
export interface IngestedValue {
  readonly body: ValueBody;
  readonly named: NamedChunks;
  readonly newChunks: number;
  readonly newBytes: number;
  readonly sha256: Uint8Array | undefined;
  /**
   * Ends its claims and the registration of its list nodes; call once the transaction is sequenced or given
   * up.
   */
  readonly release: () => void;
}

export class ValueIngest {
  readonly #context: IngestContext;
  readonly #cutter: StreamCutter;
  readonly #lane: number;
  readonly #builder: ValueBuilder;
  readonly #wholeHash: IncrementalSha256 | undefined;
  readonly #row = new ChunkHit();
  readonly #place = newLocation();
  readonly #claims: PutClaims;
  #named: NamedChunks = newNamed();
  /** Births below this index belong to nodes that are decided. */
  #decided = 0;
  #staging: Promise<void> | undefined;
  #entered: Uint8Array[] = [];
  #newChunks = 0;
  #newBytes = 0;
  #held = true;

  constructor(context: IngestContext, wantsSha256: boolean) {
    this.#context = context;
    this.#cutter = new StreamCutter({
      chunkers: context.chunkers,
      threads: context.threads,
      take: (buffer, from, to, ids, idAt) => this.#take(buffer, from, to, ids, idAt),
      turn: context.turn,
    });
    this.#lane = context.store.lanes.acquireData();
    this.#claims = context.store.guard.begin();
    this.#builder = new ValueBuilder({ storeNode: (bytes) => this.#storeNode(bytes) });
    this.#wholeHash = wantsSha256 ? incrementalSha256() : undefined;
  }

  /** Takes the next bytes of the value; `bytes` is borrowed until the promise settles. */
  async write(bytes: Uint8Array): Promise<void> {
    this.#wholeHash?.update(bytes);
    await this.#cutter.write(bytes);
  }

  /** Takes the next bytes from `read`, with about `left` to come; resolves with how many, 0 at the end. */
  async pull(read: ReadInto, left: number): Promise<number> {
    const hash = this.#wholeHash;
    if (hash === undefined) return await this.#cutter.pull(read, left);
    const hashing = async (into: Uint8Array): Promise<number> => {
      const got = await read(into);
      hash.update(into.subarray(0, got));
      return got;
    };
    return await this.#cutter.pull(hashing, left);
  }

  /** Resolves when nothing of a source is being read any more. Never rejects. */
  settle(): Promise<void> {
    return this.#cutter.settle();
  }

  /** Ends the value. */
  async finish(): Promise<IngestedValue> {
    await this.#cutter.finish();
    const body = await this.#builder.finish();
    await this.#staging;
    this.#letGo();
    const entered = this.#entered;
    this.#entered = [];
    return {
      body,
      named: this.#named,
      newChunks: this.#newChunks,
      newBytes: this.#newBytes,
      sha256: this.#wholeHash?.digest(),
      release: () => {
        for (const id of entered) this.#context.presence.leave(id);
        this.#claims.release();
      },
    };
  }

  /** Gives everything back; what was stored is garbage. Idempotent, also after `finish`. */
  abort(): void {
    if (!this.#held) return;
    this.#context.store.guard.abandonedBytes += this.#newBytes;
    this.#letGo();
    for (const id of this.#entered) this.#context.presence.leave(id);
    this.#entered = [];
    this.#claims.release();
  }

  #letGo(): void {
    if (!this.#held) return;
    this.#held = false;
    this.#cutter.release();
    this.#context.store.lanes.releaseData(this.#lane);
  }

  /** Stores the chunk unless it is there; a promise where something must be read or waited for. */
  #take(buffer: Uint8Array, from: number, to: number, ids: Uint8Array, idAt: number): void | Promise<void> {
    const { store } = this.#context;
    const how = store.findNow(ids, idAt, this.#row, this.#place);
    if (how === undefined) return this.#takeLater(buffer, from, to, ids, idAt);
    if (how === found.entry) this.#claims.entry(ids, idAt);
    else if (how === found.frame) this.#useFrame(ids, idAt);
    else {
      const writer = store.lanes.current(this.#lane);
      if (writer === undefined) return this.#storeLater(buffer, from, to, ids, idAt);
      this.#append(writer, buffer, from, to, ids, idAt);
    }
    return this.#add(ids, idAt);
  }

  #add(ids: Uint8Array, idAt: number): void | Promise<void> {
    const { segment, off8, storedLen, rawLen } = this.#place;
    return this.#builder.addChunk(ids, idAt, segment, off8, storedLen, rawLen);
  }

  /** Reads what the lookup needs; what others stored meanwhile counts too. */
  async #takeLater(
    buffer: Uint8Array,
    from: number,
    to: number,
    ids: Uint8Array,
    idAt: number,
  ): Promise<void> {
    const { store } = this.#context;
    // Claimed before it is found: the lookup has more to wait for once it has seen the entry.
    this.#claims.entry(ids, idAt);
    let how = await store.find(ids, idAt, this.#place);
    if (how === found.absent) how = store.findNew(ids, idAt, this.#row, this.#place);
    if (how === found.absent) return await this.#storeLater(buffer, from, to, ids, idAt);
    if (how === found.frame) this.#useFrame(ids, idAt);
    await this.#add(ids, idAt);
  }

  /** Stores the chunk once the lane has a segment to append to. */
  async #storeLater(
    buffer: Uint8Array,
    from: number,
    to: number,
    ids: Uint8Array,
    idAt: number,
  ): Promise<void> {
    const { store } = this.#context;
    let how: Found = found.absent;
    let writer = store.lanes.current(this.#lane);
    while (writer === undefined && how === found.absent) {
      await store.lanes.ready(this.#lane);
      // Another put may have stored the same chunk while this one waited.
      how = store.findNew(ids, idAt, this.#row, this.#place);
      writer = store.lanes.current(this.#lane);
    }
    if (how === found.entry) this.#claims.entry(ids, idAt);
    else if (how === found.frame) this.#useFrame(ids, idAt);
    else this.#append(writer!, buffer, from, to, ids, idAt);
    await this.#add(ids, idAt);
  }

  #useFrame(ids: Uint8Array, idAt: number): void {
    this.#claims.frame(this.#place.segment);
    this.#named.births.add(ids, idAt, this.#place, chunkKinds.data, true);
    const writer = this.#context.store.lanes.writerOf(this.#place.segment);
    if (writer !== undefined) this.#named.files.add(writer);
  }

  #append(
    writer: SegmentWriter,
    buffer: Uint8Array,
    from: number,
    to: number,
    ids: Uint8Array,
    idAt: number,
  ): void {
    const { store } = this.#context;
    if (this.#newBytes >= store.lanes.bulk.fromBytes) writer.expectBulk();
    store.append(writer, ids, idAt, buffer, from, to, chunkKinds.data, this.#place);
    this.#claims.frame(writer.no);
    this.#named.births.add(ids, idAt, this.#place, chunkKinds.data, false);
    this.#named.files.add(writer);
    this.#newChunks++;
    this.#newBytes += to - from;
  }

  async #storeNode(bytes: Uint8Array): Promise<ChunkRef> {
    const { store, presence } = this.#context;
    const id = sha256(bytes);
    const place = newLocation();
    await presence.enter(id, () => store.isNodePresent(id, 0));
    this.#entered.push(id);
    const stored = presence.isPresent(id, 0) && (await store.find(id, 0, place)) === found.entry;
    if (!stored) await this.#appendNode(id, bytes, place);
    else if (store.isIndexSound) this.#named.births.dropFound(this.#decided);
    this.#decided = this.#named.births.count;
    const birthsMax = this.#context.stageBirthsMax ?? stageBirthsDefault;
    // Nodes that are in the tree hold what lies below them.
    if (this.#decided === 0) this.#claims.staged()();
    else if (this.#decided >= birthsMax || this.#claims.ids >= claimedIdsMax) await this.#stage();
    return { id, ...place };
  }

  async #appendNode(id: Uint8Array, bytes: Uint8Array, place: ReturnType<typeof newLocation>): Promise<void> {
    const { store } = this.#context;
    let writer = store.lanes.current(listLane);
    while (writer === undefined) {
      await store.lanes.ready(listLane);
      writer = store.lanes.current(listLane);
    }
    if (store.findNew(id, 0, this.#row, place) === found.frame) {
      // Another put has appended the node and not named it yet.
      writer = store.lanes.writerOf(place.segment);
    } else {
      store.append(writer, id, 0, bytes, 0, bytes.length, chunkKinds.list, place);
      this.#newChunks++;
      this.#newBytes += bytes.length;
    }
    this.#claims.node(place.segment);
    this.#named.births.add(id, 0, place, chunkKinds.list, false);
    this.#named.nodes.set(toHex(id), bytes);
    if (writer !== undefined) this.#named.files.add(writer);
  }

  /** One STAGE frame under way at a time: a faster source waits for the disk here. */
  async #stage(): Promise<void> {
    const named = this.#named;
    this.#named = newNamed();
    const later = this.#named.births;
    this.#decided = 0;
    await this.#staging;
    const held = this.#claims.staged();
    this.#staging = this.#context.stage(named, later).then(held);
    // Awaited by the next stage or by finish; this handler only keeps an aborted put from being fatal.
    this.#staging.catch(() => undefined);
  }
}

/** Nothing named: for transactions with inline values only. */
export function newNamed(): NamedChunks {
  return { births: new Births(), nodes: new Map(), files: new Set() };
}
