/**
 * What flushes and merges of a load must write, by the planner alone: tables are sizes and ranges of keys
 * that lie evenly, nothing is stored, and every merge that is due is done before the next flush.
 */
import {
  type CompactionLimits,
  type CompactionPlan,
  type PlanTable,
  planCompaction,
} from '../../src/tree/compaction-planner.ts';

/** A load of one tree, whose keys are unlike and come in no order. */
export interface SimulatedLoad {
  readonly tree: number;
  readonly rows: number;
  /** Rows a memtable holds when it is flushed. */
  readonly flushRows: number;
  /** Bytes a row takes in a table, filter and indexes included. */
  readonly rowBytes: number;
  /** Bytes of key and value alone, by which merges end a table. */
  readonly plainRowBytes: number;
  readonly limits: CompactionLimits;
}

/** Bytes written. */
export interface SimulatedWrites {
  readonly flushed: number;
  readonly merged: number;
}

interface SimTable extends PlanTable {
  /** Where the range begins and ends, 0 to 1. */
  readonly from: number;
  readonly to: number;
}

const keyBytes = 16;
const nothing: ReadonlySet<number> = new Set();

/** The key at a place of the range: eight bytes of it, then a number as every row has. */
function keyAt(place: number): Uint8Array {
  const key = new Uint8Array(keyBytes);
  const view = new DataView(key.buffer);
  view.setUint32(0, Math.min(2 ** 32 - 1, Math.floor(place * 2 ** 32)));
  view.setUint32(4, Math.floor(((place * 2 ** 32) % 1) * 2 ** 20));
  return key;
}

class Simulation {
  readonly #load: SimulatedLoad;
  #tables: SimTable[] = [];
  #no = 0;
  #flushed = 0;
  #merged = 0;

  constructor(load: SimulatedLoad) {
    this.#load = load;
  }

  run(): SimulatedWrites {
    const { rows, flushRows, rowBytes, limits } = this.#load;
    for (let done = 0; done < rows; done += flushRows) {
      const table = this.#table(0, Math.min(flushRows, rows - done), 0, 1);
      this.#tables.push(table);
      this.#flushed += table.entries * rowBytes;
      for (;;) {
        const plan = planCompaction(this.#tables, limits, nothing);
        if (plan === undefined) break;
        this.#step(plan);
      }
    }
    return { flushed: this.#flushed, merged: this.#merged };
  }

  #table(level: number, entries: number, from: number, to: number): SimTable {
    const { tree, rowBytes } = this.#load;
    const no = ++this.#no;
    return {
      tree,
      level,
      no,
      size: Math.ceil(entries * rowBytes),
      entries,
      tombstones: 0,
      minKey: keyAt(from),
      maxKey: keyAt(to),
      maxSeq: no,
      settled: true,
      from,
      to,
    };
  }

  #step({ inputs, outputLevel, move }: CompactionPlan): void {
    const isInput = ({ no }: PlanTable): boolean => inputs.includes(no);
    const merged = this.#tables.filter(isInput);
    this.#tables = this.#tables.filter((table) => !isInput(table));
    if (move) {
      this.#tables.push(...merged.map((table) => ({ ...table, level: outputLevel })));
      return;
    }
    for (const { size } of merged) this.#merged += size;
    const { limits, plainRowBytes } = this.#load;
    const tableRows = limits.tableBytes / plainRowBytes;
    for (const { from, to, rows } of parted(merged, tableRows)) {
      this.#tables.push(this.#table(outputLevel, rows, from, to));
    }
  }
}

/** The rows of all `tables` in order, cut into parts of `rowsMax`. */
function parted(tables: readonly SimTable[], rowsMax: number): { from: number; to: number; rows: number }[] {
  const bounds = [...new Set(tables.flatMap(({ from, to }) => [from, to]))].sort((a, b) => a - b);
  const parts: { from: number; to: number; rows: number }[] = [];
  let from = bounds[0]!;
  let rows = 0;
  for (let i = 0; i + 1 < bounds.length; i++) {
    let at = bounds[i]!;
    const end = bounds[i + 1]!;
    const over = tables.filter((table) => table.from <= at && table.to >= end);
    const density = over.reduce((sum, table) => sum + table.entries / (table.to - table.from), 0);
    while (rows + (end - at) * density >= rowsMax) {
      at += (rowsMax - rows) / density;
      parts.push({ from, to: at - Number.EPSILON, rows: rowsMax });
      from = at;
      rows = 0;
    }
    rows += (end - at) * density;
  }
  if (rows > 1) parts.push({ from, to: bounds.at(-1)!, rows });
  return parts;
}

/** What the load writes to tables. */
export function simulateMerges(load: SimulatedLoad): SimulatedWrites {
  return new Simulation(load).run();
}
