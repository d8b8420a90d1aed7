/** What is known of a store before it is damaged: which bytes a key needs, which log frames prove what. */

import { viewOf } from '../../src/base/bytes.ts';
import { CatalogStore } from '../../src/catalog/catalog-store.ts';
import { decodeFileHeader, fileHeader } from '../../src/format/file-header.ts';
import { filePath, superName } from '../../src/format/file-names.ts';
import { frameBytes, lastSeqOf } from '../../src/format/log-frame.ts';
import { segmentFooter, trailerEntry } from '../../src/format/segment.ts';
import { slotBytes, slotCount } from '../../src/format/superblock.ts';
import { decodeTableFooter, tableFooter } from '../../src/format/table.ts';
import { trees } from '../../src/format/trees.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { readLogChain } from '../../src/log/log-chain.ts';
import { scanLog } from '../../src/log/log-reader.ts';
import { openOn } from '../crash/machine.ts';
import { type Mutation, type Span, toEnd } from './mutations.ts';
import { type BuiltStore, filesOf } from './stores.ts';

/** A frame of the newest log file. */
interface ProvenFrame {
  readonly from: number;
  readonly to: number;
  readonly lastSeq: number;
  readonly durableSeq: number;
}

export interface Knowledge {
  readonly store: BuiltStore;
  /** By position in `store.keys`: what a read of the key reads beyond what an open reads. */
  readonly readsOf: readonly (readonly Span[])[];
  /** Files that an open compares with what the newest catalog says: their loss is listed before any read. */
  readonly checkedAtOpen: ReadonlySet<string>;
  /** The catalog SUPER names first: a store that loses it, or any one slot, goes on with the one before. */
  readonly newestCatalog: string;
  /** The slot of SUPER that names it. */
  readonly newestSlot: Span;
  readonly checkpointSeq: number;
  /** Of every file, in order. */
  readonly parts: ReadonlyMap<string, readonly Part[]>;
  /** Undefined for a store that was closed: its log must be whole. */
  readonly openLog: { readonly file: string; readonly frames: readonly ProvenFrame[] } | undefined;
}

export async function learn(store: BuiltStore): Promise<Knowledge> {
  const { disk } = store;
  const loaded = await CatalogStore.load(disk);
  const log = await framesOfLog(disk, loaded);
  const reads = await readsByKey(store);
  const readsOf = store.keys.map(({ versions }, i) => [
    ...log
      .filter(({ from, to }) => versions.some(({ seq }) => from <= seq && seq <= to))
      .map(({ span }) => span),
    ...reads[i]!,
  ]);
  const parts = new Map(filesOf(disk).map((file) => [file, partsOf(disk.bytesOf(file), file)]));
  return {
    store,
    readsOf,
    checkedAtOpen: checkedAtOpen(loaded),
    newestCatalog: filePath('cat', loaded.catalog.no),
    newestSlot: slotSpan(loaded.slot.slotIndex),
    checkpointSeq: loaded.catalog.checkpointSeq,
    parts,
    openLog: await openLogOf(disk, loaded.slot, loaded.catalog),
  };
}

function slotSpan(index: number): Span {
  return { file: superName, from: index * slotBytes, to: (index + 1) * slotBytes };
}

/** Every table, and the sealed segments that the catalog before did not name. */
function checkedAtOpen({ catalog, previous }: Loaded): Set<string> {
  const before = new Set(previous?.catalog.sealed.map(({ no }) => no));
  const fresh = catalog.sealed.filter(({ no }) => !before.has(no));
  return new Set([
    ...catalog.tables.map(({ no }) => filePath('tab', no)),
    ...fresh.map(({ no }) => filePath('seg', no)),
  ]);
}

/** The frames an open replays, with the numbers in them: a key whose row is there reads them. */
async function framesOfLog(
  disk: MemoryFileSystem,
  { slot, catalog }: Loaded,
): Promise<{ from: number; to: number; span: Span }[]> {
  const { no: catalogNo, walFirstNo, checkpointSeq } = catalog;
  const chain = await readLogChain(disk, { dbUuid: slot.dbUuid, walFirstNo, catalogNo, checkpointSeq });
  await chain.close();
  return Array.from({ length: chain.frames.length }, (_, i) => {
    const frame = chain.frames.at(i);
    const to = frame.offset + frameBytes(frame.payloadLen);
    return { from: frame.seqFirst, to: lastSeqOf(frame), span: { file: frame.path, from: frame.offset, to } };
  });
}

type Loaded = Awaited<ReturnType<typeof CatalogStore.load>>;

function record(disk: MemoryFileSystem, spans: Span[]): void {
  disk.faults = ({ kind, path, pos = 0, length = 0 }) => {
    if (kind === 'read') spans.push({ file: path, from: pos, to: pos + length });
    return undefined;
  };
}

/**
 * What one reader without a cache reads for each key; headers of segments only for the first that needs them.
 */
async function readsByKey({ disk, shape, more, keys }: BuiltStore): Promise<Span[][]> {
  const own = disk.fork();
  const engine = await openOn(own, shape, 3, { ...more, readOnly: true, memory: { blockCacheBytes: 0 } });
  const reads: Span[][] = [];
  for (const { space, key } of keys) {
    const spans: Span[] = [];
    record(own, spans);
    await (space === '' ? engine : engine.space(space)).get(key);
    reads.push(spans);
  }
  own.faults = undefined;
  await engine.close();
  return reads;
}

async function openLogOf(
  disk: MemoryFileSystem,
  slot: Loaded['slot'],
  { no: catalogNo, walFirstNo, checkpointSeq }: Loaded['catalog'],
): Promise<Knowledge['openLog']> {
  const { dbUuid, cleanShutdown } = slot;
  if (cleanShutdown) return undefined;
  const chain = await readLogChain(disk, { dbUuid, walFirstNo, catalogNo, checkpointSeq });
  const no = chain.lastNo;
  await chain.close();
  const file = disk.files().find((path) => path.endsWith(`${no.toString(16).padStart(16, '0')}.wal`))!;
  const frames: ProvenFrame[] = [];
  for await (const item of scanLog(disk, file, { no, dbUuid })) {
    if (item.kind !== 'frame') continue;
    const { frame, end } = item;
    frames.push({ from: frame.offset, to: end, lastSeq: lastSeqOf(frame), durableSeq: frame.durableSeq });
  }
  return { file, frames };
}

export function overlaps(a: Span, b: Span): boolean {
  return a.file === b.file && a.from < b.to && b.from < a.to;
}

/**
 * Where the newest log of a killed store may be taken for one that a crash cut off: nothing that is left says
 * that the frames hit had reached the disk. Commits above the result may then be gone; undefined = none may.
 */
export function tornFrom(known: Knowledge, { touched }: Mutation): number | undefined {
  const { openLog, checkpointSeq } = known;
  if (openLog === undefined || !touched.some(({ file }) => file === openLog.file)) return undefined;
  const { file, frames } = openLog;
  const isHit = ({ from, to }: ProvenFrame): boolean =>
    touched.some((span) => overlaps(span, { file, from, to }));
  const first = frames.findIndex(isHit);
  if (first === -1) return undefined;
  const kept = frames.filter((frame) => !isHit(frame));
  const last = first === 0 ? checkpointSeq : Math.max(checkpointSeq, frames[first - 1]!.lastSeq);
  const proven = kept.reduce((seq, frame) => Math.max(seq, frame.durableSeq), 0);
  return proven > last ? undefined : last;
}

/**
 * Two roots hit at once: the newest slot of SUPER, and the head of the newest log of a killed store. What is
 * left is what a crash leaves while that log is made, and nothing says that it ever had commits: they may be
 * gone when the slot is listed.
 */
export function losesTwoRoots({ openLog, newestSlot }: Knowledge, { touched }: Mutation): boolean {
  if (openLog === undefined) return false;
  const head = { file: openLog.file, from: 0, to: openLog.frames[0]!.to };
  return [newestSlot, head].every((root) => touched.some((span) => overlaps(span, root)));
}

/**
 * Damage of nothing but the newest catalog, or of one slot of SUPER: the install of grace keeps all that the
 * one before needs, so no commit may be lost and no write refused.
 */
export function isGotAround({ newestCatalog }: Knowledge, { touched }: Mutation): boolean {
  if (touched.length === 0) return false;
  if (touched.every(({ file }) => file === newestCatalog)) return true;
  if (touched.some(({ file }) => file !== superName)) return false;
  const last = slotCount - 1;
  const slots = touched.flatMap(({ from, to }) => [
    Math.min(last, Math.floor(from / slotBytes)),
    Math.min(last, Math.floor((to - 1) / slotBytes)),
  ]);
  return new Set(slots).size === 1;
}

/** Files of `checkedAtOpen` that are gone, or hold the bytes of another file, from end to end. */
export function lostWholly({ checkedAtOpen }: Knowledge, { touched }: Mutation): string | undefined {
  return touched.find(({ file, from, to }) => from === 0 && to === toEnd && checkedAtOpen.has(file))?.file;
}

/** A structure of a file and where it begins; it ends where the next one begins. */
interface Part {
  readonly from: number;
  readonly name: string;
}

/** Name of the structure a byte lies in. */
export function structureAt({ parts }: Knowledge, { file, from }: Span): string {
  return parts.get(file)!.findLast((part) => part.from <= from)!.name;
}

function partsOf(bytes: Uint8Array, file: string): Part[] {
  const kind = file.slice(0, 3);
  const end = { from: bytes.length, name: `${kind} behind the end` };
  if (file === 'SUPER') {
    const slots = Array.from({ length: slotCount }, (_, i) => ({
      from: i * slotBytes,
      name: `SUPER slot ${i}`,
    }));
    return [...slots, end];
  }
  const rest = { cat: partsOfCatalog, tab: partsOfTable, seg: partsOfSegment, wal: partsOfLog }[kind]!;
  return [{ from: 0, name: `${kind} header` }, ...rest(bytes, file), end];
}

function partsOfCatalog(bytes: Uint8Array): Part[] {
  const half = fileHeader.size + (bytes.length - fileHeader.size) / 2;
  return [
    { from: fileHeader.size, name: 'cat body' },
    { from: half, name: 'cat twin' },
  ];
}

function partsOfLog(): Part[] {
  return [{ from: fileHeader.size, name: 'wal frames' }];
}

function partsOfTable(bytes: Uint8Array, file: string): Part[] {
  const { seed, subKind } = decodeFileHeader(bytes, { kind: 'table' }, file);
  const dataFrom = subKind === trees.C ? 4096 : fileHeader.size;
  const footerFrom = bytes.length - tableFooter.size;
  const footer = decodeTableFooter(bytes.subarray(footerFrom), seed, dataFrom, bytes.length, file);
  const padding = subKind === trees.C ? [{ from: fileHeader.size, name: 'tab padding' }] : [];
  const { filterOff, filterLen, topIndexOff, propsOff } = footer;
  return [
    ...padding,
    { from: dataFrom, name: `tab data of tree ${subKind}` },
    { from: filterOff, name: 'tab filter' },
    { from: filterOff + filterLen, name: 'tab index' },
    { from: topIndexOff, name: 'tab top index' },
    { from: propsOff, name: 'tab properties' },
    { from: footerFrom, name: 'tab footer' },
  ];
}

function partsOfSegment(bytes: Uint8Array): Part[] {
  const footerFrom = bytes.length - segmentFooter.size;
  const isSealed = new TextDecoder().decode(bytes.subarray(footerFrom, footerFrom + 8)) === 'VRSEGEND';
  if (!isSealed) return [{ from: fileHeader.size, name: 'seg frames (open)' }];
  const frames = viewOf(bytes).getUint32(footerFrom + segmentFooter.at.frameCount, true);
  return [
    { from: fileHeader.size, name: 'seg frames' },
    { from: footerFrom - frames * trailerEntry.size, name: 'seg trailer' },
    { from: footerFrom, name: 'seg footer' },
  ];
}
