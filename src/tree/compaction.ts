/**
 * Merges tables of one tree into new ones of a deeper level. The planner has said which; the caller installs
 * the result and only then lets go of the inputs.
 *
 * Invariants (test/tree/compaction.test.ts)
 * - What comes out and what is counted as dropped is together what went in: rows and bytes, for chunks
 *   entries and references; else the outputs are deleted and the merge fails ("a merge that loses a row is
 *   thrown away").
 * - A merge that fails or is cancelled leaves no file and changes nothing ("a merge that fails at any
 *   operation leaves no file").
 * - Memory: `readBytes` over all inputs, or a block of each, and what the table writer holds ("a merge reads
 *   its inputs within its budget").
 */
import type { FileNo } from '../base/brands.ts';
import { corrupt } from '../base/errors.ts';
import { KiB, MiB } from '../base/limits.ts';
import type { CatalogTable } from '../format/catalog.ts';
import { chunkEntry } from '../format/chunk-table.ts';
import { filePath } from '../format/file-names.ts';
import { trees } from '../format/trees.ts';
import type { FsPort } from '../fs/port.ts';
import { MergedChunks } from './chunk-cursor.ts';
import { ChunkTable } from './chunk-table-reader.ts';
import { writeChunkTable } from './chunk-table-writer.ts';
import { DeeperRanges, type LeveledRange } from './deeper-ranges.ts';
import type { KeepRule } from './keep-rule.ts';
import { MergeCursor } from './merge-cursor.ts';
import { type MergePace, MergeSlice } from './merge-slice.ts';
import { type IsSpent, MergedEntries } from './merged-entries.ts';
import { MergedRows } from './merged-rows.ts';
import { RowRetention } from './row-retention.ts';
import { newestFirst, sharedStart } from './table-order.ts';
import { discardTable, TableScratch } from './table-output.ts';
import { KeyTable } from './table-reader.ts';
import { writeKeyTable } from './table-writer.ts';

/** What to merge. */
export interface CompactionJob {
  readonly tree: number;
  readonly outputLevel: number;
  /** Tables of that tree in any order, held by the caller until the merge has settled. */
  readonly inputs: readonly (KeyTable | ChunkTable)[];
  /** All tables of the tree. */
  readonly around: readonly LeveledRange[];
  /** Which old versions somebody may still ask for. */
  readonly rule: KeepRule;
  /** Chunk entries for which it says true are dropped where nothing lies deeper; undefined: none are. */
  readonly isSpent?: IsSpent | undefined;
  /** Size of a table to be made, bytes. */
  readonly tableBytes: number;
  /** Of the inputs, read at once and together; a block of each is always read. 8 MiB when left out. */
  readonly readBytes?: number;
}

/** Where the merge writes and how it shares the thread. */
export interface CompactionPorts {
  readonly fs: FsPort;
  readonly dbUuid: Uint8Array;
  readonly takeFileNo: () => FileNo;
  /** `random(n)` gives n random bytes. */
  readonly random: (bytes: number) => Uint8Array;
  readonly pace: MergePace;
}

/** What a merge made, and what became of the rows it read. */
export interface CompactionResult {
  /** In key order; none when every row was dropped. Durable, named by nothing yet. */
  readonly tables: readonly CatalogTable[];
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly rowsRead: number;
  /** Rows dropped: versions no reader can see, delete markers with nothing under them. */
  readonly superseded: number;
  readonly deletes: number;
  /** Chunk entries that became one with another of their id. */
  readonly joined: number;
  /** Superseded rows kept for a pinned number and nothing else. */
  readonly pinned: number;
  /** Chunk entries that said nothing any more. */
  readonly spent: number;
}

interface Merged {
  readonly rowsRead: number;
  readonly superseded: number;
  readonly deletes: number;
  readonly joined: number;
  readonly pinned: number;
  readonly spent: number;
}

const saltBytes = 12;
/** More of one input at once makes a merge no faster. */
const pieceBytesMax = 256 * KiB;

/**
 * Merges and proves. On failure every file it made is deleted: VARVE_ABORTED (cancelled), VARVE_CORRUPT with
 * the file of a damaged input (of the first input where the sums differ), VARVE_NO_SPACE, VARVE_IO.
 */
export async function compactTables(job: CompactionJob, ports: CompactionPorts): Promise<CompactionResult> {
  const tables: CatalogTable[] = [];
  try {
    const merged =
      job.tree === trees.C ? await mergeChunks(job, ports, tables) : await mergeRows(job, ports, tables);
    return {
      tables,
      ...merged,
      bytesRead: job.inputs.reduce((sum, { meta }) => sum + meta.size, 0),
      bytesWritten: tables.reduce((sum, { size }) => sum + size, 0),
    };
  } catch (error) {
    for (const { no } of tables) await discardTable(ports.fs, filePath('tab', no));
    throw error;
  }
}

/** What is read of one input at once. */
function pieceBytesOf({ inputs, readBytes = 8 * MiB }: CompactionJob): number {
  return Math.min(pieceBytesMax, Math.floor(readBytes / inputs.length));
}

async function mergeRows(
  job: CompactionJob,
  ports: CompactionPorts,
  tables: CatalogTable[],
): Promise<Merged> {
  const inputs = newestFirst(job.inputs.filter((table) => table instanceof KeyTable));
  const retention = new RowRetention(job.rule, job.tree);
  const slice = new MergeSlice(ports.pace);
  const rows = new MergedRows(
    new MergeCursor(
      inputs.map((table) => table.scan(pieceBytesOf(job), true)),
      sharedStart(inputs),
    ),
    retention,
    new DeeperRanges(job.around, job.outputLevel),
    slice,
    job.tableBytes,
  );
  const scratch = new TableScratch();
  while (await rows.more()) {
    tables.push(await writeKeyTable(ports.fs, { ...identityOf(job, ports), scratch, slice, rows }));
  }
  const { read, given, superseded, deletes } = rows;
  const written = entriesOf(tables);
  const whole =
    read.rows === entriesOf(inputs.map(({ meta }) => meta)) &&
    given.rows === written &&
    read.rows === given.rows + superseded.rows + deletes.rows &&
    read.bytes === given.bytes + superseded.bytes + deletes.bytes;
  if (!whole) throw notConserved(job, 'rows', read.rows, written + superseded.rows + deletes.rows);
  const pinned = retention.pinnedRows;
  return {
    rowsRead: read.rows,
    superseded: superseded.rows,
    deletes: deletes.rows,
    joined: 0,
    spent: 0,
    pinned,
  };
}

async function mergeChunks(
  job: CompactionJob,
  ports: CompactionPorts,
  tables: CatalogTable[],
): Promise<Merged> {
  const inputs = newestFirst(job.inputs.filter((table) => table instanceof ChunkTable));
  const metas = inputs.map(({ meta }) => meta);
  const rowsRead = entriesOf(metas);
  const merge = new MergedChunks(inputs.map((table) => table.scan(pieceBytesOf(job))));
  const tableEntries = Math.max(1, Math.floor(job.tableBytes / chunkEntry.size));
  const entries = new MergedEntries(
    merge,
    new MergeSlice(ports.pace),
    tableEntries,
    new DeeperRanges(job.around, job.outputLevel),
    job.isSpent,
  );
  const minSeq = Math.min(...metas.map((meta) => meta.minSeq));
  const maxSeq = Math.max(...metas.map((meta) => meta.maxSeq));
  const scratch = new TableScratch();
  while (await entries.more()) {
    const entriesMax = Math.min(tableEntries, rowsRead - entries.given);
    tables.push(
      await writeChunkTable(ports.fs, {
        ...identityOf(job, ports),
        scratch,
        entries,
        entriesMax,
        minSeq,
        maxSeq,
      }),
    );
  }
  const written = entriesOf(tables);
  const { dropped } = entries;
  if (entries.given !== written || written + dropped + merge.joined !== rowsRead) {
    throw notConserved(job, 'chunk entries', rowsRead, written + dropped + merge.joined);
  }
  const refs = inputs.reduce((sum, { footer }) => sum + footer.sumRefs, 0);
  if (!entries.saturated && entries.givenRefs !== refs) {
    throw notConserved(job, 'references', refs, entries.givenRefs);
  }
  return { rowsRead, superseded: 0, deletes: 0, joined: merge.joined, spent: dropped, pinned: 0 };
}

function identityOf(job: CompactionJob, ports: CompactionPorts) {
  return {
    no: ports.takeFileNo(),
    tree: job.tree,
    level: job.outputLevel,
    dbUuid: ports.dbUuid,
    salt: ports.random(saltBytes),
  };
}

function entriesOf(tables: readonly CatalogTable[]): number {
  return tables.reduce((sum, { entries }) => sum + entries, 0);
}

function notConserved(job: CompactionJob, what: string, read: number, accounted: number): Error {
  const file = filePath('tab', job.inputs[0]!.meta.no);
  return corrupt(`a merge does not account for all ${what} of its inputs`, { file }, read, accounted);
}
