/** The writing parts of an engine without the engine: trees, lanes and a log that keeps its frames. */
import { onTestFinished } from 'vitest';
import { BlockCache } from '../../src/cache/block-cache.ts';
import { ChunkStore } from '../../src/chunk/chunk-store.ts';
import { LocalityCache } from '../../src/chunk/locality-cache.ts';
import { NodePresence } from '../../src/chunk/node-presence.ts';
import { SegmentLanes } from '../../src/chunk/segment-lanes.ts';
import { encodeRowPrefix } from '../../src/format/internal-key.ts';
import { type FrameFields, frameHeaderBytes, frameTypes } from '../../src/format/log-frame.ts';
import { silentOps, visitOps, visitStage } from '../../src/format/log-ops.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { ChunkerPool } from '../../src/kernels/chunker/chunker.ts';
import { deriveChunkerKey } from '../../src/kernels/chunker/key.ts';
import { solveParams } from '../../src/kernels/chunker/params.ts';
import { GroupCommit } from '../../src/log/group-commit.ts';
import type { LogSink } from '../../src/log/group-end.ts';
import { SegmentSet } from '../../src/segment/segment-set.ts';
import { OK, settle } from '../../src/tree/cursor.ts';
import { Forest } from '../../src/tree/forest.ts';
import { Applier } from '../../src/txn/applier.ts';
import { TxnWriter } from '../../src/txn/txn-writer.ts';
import { ValueIngest } from '../../src/value/value-ingest.ts';
import type { ValueBody } from '../../src/value/value-writer.ts';
import { bytesOf, smallChunks, TestClock, turn } from '../engine/engine-kit.ts';

export const dbUuid: Uint8Array = bytesOf(1, 16);

export interface KeptFrame extends FrameFields {
  readonly payload: Uint8Array;
}

class KeepingLog implements LogSink {
  end = 0;
  readonly frames: KeptFrame[] = [];

  append(buf: Uint8Array, payloadLen: number, header: FrameFields): void {
    this.frames.push({ ...header, payload: buf.slice(frameHeaderBytes, frameHeaderBytes + payloadLen) });
    this.end += payloadLen;
  }

  async dataSync(): Promise<void> {
    await turn();
  }
}

export async function emptyForest(fs: MemoryFileSystem): Promise<Forest> {
  const options = { dbUuid, cache: new BlockCache(1024 * 1024), memtableBytes: 64 * 1024 };
  return (await Forest.open(fs, [], options)).forest;
}

/** `segmentBytes`: where a lane rolls. */
export async function writeParts(segmentBytes = 64 * 1024) {
  const fs = new MemoryFileSystem();
  for (const dir of ['seg', 'tab', 'tmp']) await fs.mkdir(dir);
  const clock = new TestClock();
  const forest = await emptyForest(fs);
  const sink = new KeepingLog();
  const failures: unknown[] = [];
  const damage: unknown[] = [];
  const log = new GroupCommit({
    log: sink,
    durability: 'full',
    clock,
    lastSeq: 0,
    lastTimeMs: 0,
    onFailed: (error) => failures.push(error),
  });
  const segments = new SegmentSet(fs, { dbUuid, onDamage: (error) => damage.push(error) });
  const locality = new LocalityCache(1024 * 1024);
  let fileNo = 1;
  const lanes = new SegmentLanes(
    {
      fs,
      dbUuid,
      random: (n) => bytesOf(fileNo, n),
      takeFileNo: () => fileNo++,
      segments,
      segmentBytes,
      onOpened: (no) => locality.open(no),
      onSealed: (no) => locality.seal(no),
      onFailed: (error) => log.fail(error),
    },
    [],
  );
  const store = new ChunkStore({
    chunks: forest.chunks,
    segments,
    lanes,
    locality,
    onDamage: (error) => damage.push(error),
  });
  const presence = new NodePresence();
  const txn = new TxnWriter(forest, log, presence);
  const chunkers = new ChunkerPool(solveParams(smallChunks), { key: deriveChunkerKey('fastcdc') });
  const context = {
    store,
    chunkers,
    presence,
    stage: (...args: Parameters<TxnWriter['stage']>) => txn.stage(...args),
    turn,
  };
  const ingest = (): ValueIngest => new ValueIngest(context, false);
  onTestFinished(async () => {
    await lanes.abandon();
    await segments.close();
    await forest.close();
  });
  return {
    fs,
    clock,
    forest,
    sink,
    failures,
    damage,
    log,
    segments,
    locality,
    lanes,
    store,
    presence,
    txn,
    chunkers,
    context,
    ingest,
  };
}

export type WriteParts = Awaited<ReturnType<typeof writeParts>>;

export const prefixOf = (key: string): Uint8Array => encodeRowPrefix(0, new TextEncoder().encode(key));

/** Stores one value as the engine does: ingest in pieces, then a transaction. */
export async function putValue(
  parts: WriteParts,
  key: string,
  value: Uint8Array,
  pieceBytes: number = value.length,
): Promise<{ seq: number; newChunks: number; digest: Uint8Array; body: ValueBody }> {
  const ingest = parts.ingest();
  for (let at = 0; at < value.length; at += pieceBytes)
    await ingest.write(value.subarray(at, at + pieceBytes));
  const ingested = await ingest.finish();
  const op = { kind: 'put', prefix: prefixOf(key), body: ingested.body, metadata: undefined } as const;
  const committed = parts.txn.commit([op], [ingested.named], [])!;
  ingested.release();
  await committed.done;
  const { body, newChunks } = ingested;
  return { seq: committed.seq, newChunks, digest: body.digest, body };
}

/** Applies kept frames to a forest of its own, as recovery does. */
export async function replayed(parts: WriteParts): Promise<Forest> {
  const forest = await emptyForest(parts.fs);
  onTestFinished(() => forest.close());
  for (const frame of parts.sink.frames) {
    const nodes = new Map<string, Uint8Array>();
    const wanted: { id: Uint8Array; segment: number; off8: number; storedLen: number }[] = [];
    const look = {
      ...silentOps,
      chunk: (_s: number, buf: Uint8Array, at: number, segment: number, off8: number, storedLen: number) => {
        wanted.push({ id: buf.slice(at, at + 32), segment, off8, storedLen });
      },
    };
    visit(frame, look);
    for (const { id, segment, off8, storedLen } of wanted) {
      const bytes = await parts.segments.readFrame(segment, off8, storedLen, id);
      if (bytes !== undefined) nodes.set(Buffer.from(id).toString('hex'), bytes);
    }
    const applier = new Applier(forest, {
      nodes: (id) => nodes.get(Buffer.from(id).toString('hex')),
      onNodeBorn: () => undefined,
      onNodeDied: () => undefined,
      onTrash: () => undefined,
      onNodeMissing: (error) => {
        throw error;
      },
    });
    applier.timeMs = frame.commitTimeMs;
    visit(frame, applier);
  }
  return forest;
}

export function visit(frame: KeptFrame, visitor: Parameters<typeof visitOps>[5]): void {
  const { payload, seqFirst, count } = frame;
  const place = { file: 'log' };
  if (frame.type === frameTypes.stage) visitStage(payload, 0, payload.length, seqFirst, visitor, place);
  else visitOps(payload, 0, payload.length, seqFirst, count, visitor, place);
}

/** Every row of a tree and every (id, place, refs) of the chunk tree, as text. */
export async function stateOf(forest: Forest): Promise<{ rows: string[]; chunks: string[] }> {
  const rows: string[] = [];
  for (const tree of [forest.keys, forest.system, forest.indexes]) {
    const view = tree.view();
    const cursor = view.cursor();
    for (
      let step = await settle(cursor, () => cursor.first());
      step === OK;
      step = await settle(cursor, () => cursor.next())
    ) {
      const key = Buffer.from(cursor.keyBytes.subarray(cursor.keyFrom, cursor.keyTo)).toString('hex');
      rows.push(
        `${key}=${Buffer.from(cursor.valueBytes.subarray(cursor.valueFrom, cursor.valueTo)).toString('hex')}`,
      );
    }
    view.release();
  }
  const chunks: string[] = [];
  await forest.chunks.scanAll(({ idBytes, idAt, columns }) => {
    const id = Buffer.from(idBytes.subarray(idAt, idAt + 32)).toString('hex');
    const { segment, off8, storedLen, kind, refs } = columns;
    chunks.push(`${id} ${segment}:${off8}+${storedLen} kind ${kind} refs ${refs}`);
  });
  return { rows, chunks };
}
