/**
 * Mends a store: what is derived is made anew from what is left of the two logs, the segments and the rows of
 * the key tree with the log behind them. Offline; the caller holds the writer lock.
 *
 * In order: what is wrong (a full check) -> SUPER and catalog, or what the files tell -> tables, whole blocks
 * of damaged ones -> the log, frames behind damage too -> segments, whole frames of damaged ones into new
 * ones -> the chunk index, counted anew -> new tables, catalog, SUPER -> everything replaced to quarantine.
 *
 * A value whose chunks are lost stays, and reading it is VARVE_CORRUPT until it is put again or removed:
 * taking its key away would pass for a removal nobody asked for, or bring an older version back.
 *
 * Invariants (test/integrity/repair.test.ts):
 * - nothing is deleted: what is replaced lies in `quarantine/` ("every byte of a replaced file is kept");
 * - after one damage everything it did not hit is as before, and what is lost is listed ("what one damage
 *   did not hit is as it was …");
 * - a repaired store opens for writing, and a second repair finds nothing but what was listed as lost;
 * - a repair that stops anywhere can be begun again ("a repair that is stopped …").
 */
import type { FileNo, Seq } from '../base/brands.ts';
import { equalBytes, fromHex } from '../base/bytes.ts';
import { mergedTableBytesTarget } from '../base/limits.ts';
import type { CatalogTable } from '../format/catalog.ts';
import { chunkKinds, codecs } from '../format/chunk-ref.ts';
import { filePath } from '../format/file-names.ts';
import { catalogFeatures } from '../format/format-ladder.ts';
import { streamClasses } from '../format/segment.ts';
import type { SuperSlot } from '../format/superblock.ts';
import { trees } from '../format/trees.ts';
import { sha256 } from '../kernels/hash/sha256.ts';
import { SegmentWriter } from '../segment/segment-writer.ts';
import type { KeyCursor } from '../tree/cursor.ts';
import { DeeperRanges } from '../tree/deeper-ranges.ts';
import { plainRule } from '../tree/keep-rule.ts';
import { MergeCursor } from '../tree/merge-cursor.ts';
import { MergeSlice } from '../tree/merge-slice.ts';
import { MergedRows } from '../tree/merged-rows.ts';
import { RowRetention } from '../tree/row-retention.ts';
import { writeKeyTable } from '../tree/table-writer.ts';
import { rowKeyName } from './affected-keys.ts';
import { walkRows } from './key-walk.ts';
import { checkWhole } from './repair-check.ts';
import { type RepairedChunks, rebuildChunks } from './repair-chunks.ts';
import { countRows } from './repair-count.ts';
import { install, prepareDirs } from './repair-install.ts';
import { type RepairedLog, replayLog } from './repair-log.ts';
import { type FoundRoots, findRoots } from './repair-roots.ts';
import { lossOf, rowTrees, TableRows } from './repair-rows.ts';
import {
  type FramePlace,
  type RepairedSegments,
  repairSegments,
  type UsableSegment,
} from './repair-segments.ts';
import { nextSlot } from './repair-slot.ts';
import { isBuildRow, isTrashRow, readSystem, SystemRepair, type SystemRows } from './repair-system.ts';
import type { RepairReport, RepairWork } from './repair-types.ts';

/** Numbers left out where nobody knows how many commits are lost. */
const seqSlack = 1_000_000;
const turnMs = 10;

/**
 * Repairs the store `work.fs` stands on. VARVE_NOT_FOUND when nothing here is one; VARVE_NO_SPACE, VARVE_IO,
 * VARVE_FORMAT_VERSION, VARVE_ABORTED: the store is then as it was, or repaired.
 */
export async function repairStore(work: RepairWork): Promise<RepairReport> {
  const repair = new Repair(work, await findRoots(work.fs));
  try {
    return await repair.run();
  } finally {
    await repair.close();
  }
}

class Repair {
  readonly #work: RepairWork;
  readonly #roots: FoundRoots;
  readonly #actions: string[] = [];
  readonly #beganAt: number;
  #turnFrom: number;
  #nextFileNo: FileNo;
  #rows!: TableRows;
  #log!: RepairedLog;
  #heal: SegmentWriter | undefined;
  /** Tables that are named again as they are. */
  readonly #staying: FileNo[] = [];

  constructor(work: RepairWork, roots: FoundRoots) {
    this.#work = work;
    this.#roots = roots;
    this.#beganAt = work.clock.monotonic();
    this.#turnFrom = this.#beganAt;
    this.#nextFileNo = Math.max(roots.files.highestNo + 1, roots.catalog?.nextFileNo ?? 1);
  }

  async close(): Promise<void> {
    await this.#heal?.close();
    await this.#rows?.close();
    await this.#log?.forest.close();
  }

  async run(): Promise<RepairReport> {
    const { fs, dryRun } = this.#work;
    const { dbUuid, catalog, closedEpoch, files } = this.#roots;
    const before = await checkWhole(this.#work, this.#pause);
    this.#rows = await TableRows.read(fs, catalog, files.tab, dbUuid);
    this.#log = await replayLog({
      fs,
      dbUuid,
      walFirstNo: catalog?.walFirstNo ?? 0,
      catalogNo: catalog?.no ?? 0,
      checkpointSeq: catalog?.checkpointSeq ?? 0,
      closedEpoch,
      system: this.#rows.wholeMetasOf(trees.S),
    });
    const system = await readSystem(this.#rows.rows(trees.S, this.#log.forest.system.active), this.#pause);
    if (before.isSound) return await this.#report(before.damage, system, undefined, []);
    this.#actions.push(...this.#roots.actions);
    if (!dryRun) await prepareDirs(fs);
    const segments = await this.#segments(before.sound);
    const seq = this.#lastSeq();
    const chunks = await rebuildChunks({
      fs,
      dbUuid,
      random: this.#work.random,
      takeFileNo: this.#takeFileNo,
      dryRun,
      rows: () => this.#keyRows(),
      segments: segments.usable,
      nodes: segments.nodes,
      seq,
      pause: this.#pause,
      heal: this.#healOne,
    });
    if (this.#heal !== undefined) {
      const info = await this.#heal.seal({ byRecovery: true });
      segments.usable.push({ info, trailer: undefined, isNamed: true });
      this.#actions.push(`${chunks.healed} chunks came from elsewhere`);
    }
    this.#actions.push(`the chunk index is made anew: ${chunks.entries} chunks`);
    if (segments.hasDamage && chunks.lostCount === 0)
      this.#actions.push('every chunk that a row needs is whole: what was damaged in segments nothing needs');
    const tables = await this.#tables(system, seq);
    const replaced = this.#replaced(segments, chunks);
    if (this.#roots.slot === undefined)
      this.#actions.push('what was fixed when the store was created is lost: see the options of repair');
    const slot = nextSlot(this.#roots, this.#work, this.#log.writerEpoch);
    const report = await this.#report(before.damage, system, chunks, replaced);
    // Files that are moved are not to be open.
    await this.#rows.close();
    if (!dryRun) await this.#install([...tables, ...chunks.tables], segments, chunks, seq, replaced, slot);
    return { ...report, ms: this.#ms() };
  }

  #takeFileNo = (): FileNo => this.#nextFileNo++;

  #pause = (): Promise<void> | undefined => {
    const { clock, checkAborted } = this.#work;
    if (clock.monotonic() - this.#turnFrom < turnMs) return undefined;
    checkAborted();
    return clock.turn().then(() => {
      this.#turnFrom = clock.monotonic();
    });
  };

  #keyRows(): KeyCursor {
    return this.#rows.rows(trees.K, this.#log.forest.keys.active);
  }

  #lastSeq(): Seq {
    const { tables } = this.#rows;
    const highest = tables.reduce((max, { meta }) => Math.max(max, meta?.maxSeq ?? 0), this.#log.lastSeq);
    const isOpen = this.#log.missing.some(({ to }) => to === undefined) || this.#roots.catalog === undefined;
    return Math.max(1, highest) + (isOpen ? seqSlack : 0);
  }

  async #segments(sound: ReadonlySet<FileNo>): Promise<RepairedSegments> {
    const { fs, random, dryRun, onProgress } = this.#work;
    const { dbUuid, catalog, files } = this.#roots;
    const numbers = new Set(files.seg);
    for (const { no } of [...(catalog?.sealed ?? []), ...(catalog?.unsealed ?? [])]) {
      if (!numbers.has(no))
        this.#actions.push(`${filePath('seg', no)} is gone: its chunks are looked for elsewhere`);
    }
    let done = 0;
    return await repairSegments(files.seg, catalog, this.#log.named, {
      fs,
      dbUuid,
      random,
      takeFileNo: this.#takeFileNo,
      dryRun,
      sound,
      pause: this.#pause,
      onAction: (what) => this.#actions.push(what),
      onBytes: (bytes) => {
        done += bytes;
        const ms = this.#ms();
        const bytesPerSecond = ms === 0 ? 0 : Math.round((done * 1000) / ms);
        onProgress?.({ phase: 'segments', done, unit: 'bytes', bytesPerSecond });
      },
    });
  }

  /** Stores a chunk that `healFrom` gives, unless nothing is to be written. */
  #healOne = async (
    id: string,
    kind: number,
  ): Promise<{ place: FramePlace; bytes: Uint8Array } | undefined> => {
    const { healFrom, fs, random, dryRun } = this.#work;
    if (healFrom === undefined || dryRun) return undefined;
    const want = fromHex(id);
    const bytes = await healFrom(want);
    if (bytes === undefined || !equalBytes(sha256(bytes), want)) return undefined;
    this.#heal ??= await SegmentWriter.create(fs, {
      no: this.#takeFileNo(),
      class: streamClasses.gc,
      dbUuid: this.#roots.dbUuid,
      salt: random(12),
    });
    const { length } = bytes;
    const off8 = this.#heal.append(want, 0, bytes, 0, length, kind, codecs.raw, length);
    if (kind === chunkKinds.list) await this.#heal.flush();
    else if (this.#heal.needsDrain) await this.#heal.drain();
    return { place: { segment: this.#heal.no, off8, storedLen: length }, bytes };
  };

  /** Tables of the ordered trees: those that are whole stay, of the others the rows go into new ones. */
  async #tables(system: SystemRows, seq: Seq): Promise<CatalogTable[]> {
    const { forest, missing } = this.#log;
    const isGuess = this.#roots.catalog === undefined;
    const rowsLost =
      isGuess || missing.length > 0 || this.#rows.hasLost(trees.K) || this.#rows.hasLost(trees.S);
    const out: CatalogTable[] = [];
    // Entries that are missing, or are of versions that are, would make queries wrong: they are built again.
    const indexesAnew = rowsLost || !this.#rows.isWhole(trees.X);
    for (const tree of rowTrees) {
      const memtable = forest.tree(tree).active;
      if (tree === trees.X && indexesAnew) continue;
      const anew = tree === trees.S && indexesAnew;
      if (!anew && !isGuess && this.#rows.isWhole(tree)) {
        const metas = this.#rows.metasOf(tree);
        this.#staying.push(...metas.map(({ no }) => no));
        out.push(...metas);
        if (memtable.entries > 0) out.push(...(await this.#write(tree, 0, memtable.cursor())));
        continue;
      }
      const rows = anew ? await this.#systemRows(system, seq, rowsLost) : this.#rows.rows(tree, memtable);
      const made = await this.#write(tree, 1, rows);
      out.push(...made);
      const what = tree === trees.K ? 'keys' : tree === trees.S ? 'system rows' : 'index rows';
      this.#actions.push(`tables of ${what} are written anew from what is whole`);
    }
    return out;
  }

  /** The system rows as they are to be; `rowsLost`: those made from keys are made anew as well. */
  async #systemRows(system: SystemRows, seq: Seq, rowsLost: boolean): Promise<KeyCursor> {
    const made = new SystemRepair();
    if (rowsLost) {
      await walkRows(this.#keyRows(), (row) => made.row(row), this.#pause);
      const names = made.nameSpaces(system, seq);
      if (names.length > 0) this.#actions.push(`spaces without a name are named ${names.join(', ')}`);
    }
    const indexes = made.rebuildIndexes(system, seq);
    if (indexes.length > 0)
      this.#actions.push(`indexes are built again once the store is opened: ${indexes.join(', ')}`);
    const rest = this.#rows.rows(
      trees.S,
      this.#log.forest.system.active,
      (rows) => !(rowsLost && isTrashRow(rows)) && !isBuildRow(rows),
    );
    return made.memtable.entries === 0 ? rest : new MergeCursor([made.memtable.cursor(), rest]);
  }

  async #write(tree: number, level: number, source: KeyCursor): Promise<CatalogTable[]> {
    const { fs, clock, random, dryRun } = this.#work;
    if (dryRun) return [];
    const pace = { monotonic: () => clock.monotonic(), turn: () => clock.turn(), cancelled: () => false };
    const slice = new MergeSlice(pace);
    // With a horizon of 0 every row is kept.
    const retention = new RowRetention(plainRule(0), tree);
    const rows = new MergedRows(
      source,
      retention,
      new DeeperRanges([], level),
      slice,
      mergedTableBytesTarget,
    );
    const tables: CatalogTable[] = [];
    while (await rows.more()) {
      const identity = { no: this.#takeFileNo(), tree, level, dbUuid: this.#roots.dbUuid, salt: random(12) };
      tables.push(await writeKeyTable(fs, { ...identity, rows }));
    }
    return tables;
  }

  /** Files of the store that the new catalog does not need. */
  #replaced(segments: RepairedSegments, chunks: RepairedChunks): string[] {
    const { files } = this.#roots;
    const kept = new Set<FileNo>(this.#staying);
    for (const { info, isNamed } of segments.usable)
      if (isNamed || chunks.used.has(info.no)) kept.add(info.no);
    for (const no of segments.replaced) kept.delete(no);
    const paths: string[] = [];
    for (const kind of ['cat', 'wal', 'tab', 'seg'] as const) {
      for (const no of files[kind]) if (!kept.has(no)) paths.push(filePath(kind, no));
    }
    return paths;
  }

  async #install(
    tables: CatalogTable[],
    segments: RepairedSegments,
    chunks: RepairedChunks,
    seq: Seq,
    replaced: readonly string[],
    slot: SuperSlot,
  ): Promise<void> {
    const { fs, random } = this.#work;
    const { catalog } = this.#roots;
    const no = this.#takeFileNo();
    const usable = (segment: UsableSegment): boolean => segment.isNamed || chunks.used.has(segment.info.no);
    await install({
      fs,
      random,
      slot,
      replaced,
      catalog: {
        no,
        generation: slot.generation + 4,
        previousCatalogNo: 0,
        checkpointSeq: seq,
        walFirstNo: 0,
        nextFileNo: this.#nextFileNo,
        timelineId: slot.timelineId,
        features: catalog?.features ?? catalogFeatures.reduce((bits, { bit }) => bits | bit, 0),
        tables,
        sealed: segments.usable.filter(usable).map(({ info }) => info),
        unsealed: [],
        dropped: [],
      },
    });
  }

  async #report(
    damage: RepairReport['damage'],
    system: SystemRows,
    chunks: RepairedChunks | undefined,
    quarantined: string[],
  ): Promise<RepairReport> {
    const lost = chunks?.lost ?? new Set<string>();
    const { kept, keys, moreKeys, versions } = await countRows(this.#keyRows(), lost, system, this.#pause);
    const spaceName = (space: number): string | undefined => system.spaces.get(space);
    const { keyRanges, other } = lossOf(this.#rows, (key) => rowKeyName(key, spaceName));
    if (this.#roots.catalog === undefined)
      other.push('which tables were in use: keys removed before may be back');
    const sequences = this.#log.missing;
    const loss = { keys, moreKeys, versions, chunks: chunks?.lostCount ?? 0, keyRanges, sequences, other };
    const losses = keys.length + versions + loss.chunks + keyRanges.length + sequences.length + other.length;
    const { dryRun } = this.#work;
    const actions = this.#actions;
    return { ok: losses === 0, dryRun, actions, lost: loss, quarantined, damage, kept, ms: this.#ms() };
  }

  #ms(): number {
    return this.#work.clock.monotonic() - this.#beganAt;
  }
}
