/**
 * Judges a history of transactions: what each one saw and when, against the order the commits had. The order
 * is that of the change feed; the checks know nothing of how the engine validates.
 */

/** What a transaction that committed has seen and done. */
export interface Observed {
  readonly id: number;
  /** Number of the last commit it could see. */
  readonly view: number;
  /** Key to value, or undefined where there was none; own writes are not among them. */
  readonly reads: Map<string, string | undefined>;
  /** Number of its commit; undefined: it wrote nothing. */
  seq: number | undefined;
}

/** One state of a key; `value` undefined: absent. */
export interface Version {
  readonly seq: number;
  /** -1: of nobody, it was there before. */
  readonly writer: number;
  readonly value: string | undefined;
}

/** All versions of a key by rising seq, the first of nobody. */
export type Versions = ReadonlyMap<string, readonly Version[]>;

/** What is wrong with the history as one of snapshot isolation; empty when nothing is. */
export function snapshotFaults(all: readonly Observed[], versions: Versions): string[] {
  const faults: string[] = [];
  for (const { id, view, reads, seq } of all) {
    for (const [key, value] of reads) {
      const seen = versionAt(versions, key, view);
      if (seen.value !== value) faults.push(`${id} read ${key}=${value}, at ${view} it was ${seen.value}`);
    }
    if (seq === undefined) continue;
    for (const [key, list] of versions) {
      if (!list.some((version) => version.seq === seq)) continue;
      const lost = list.find((version) => version.seq > view && version.seq < seq);
      if (lost !== undefined) faults.push(`${id} overwrote ${key} of ${lost.writer} without having seen it`);
    }
  }
  return faults;
}

/** Transactions that depend on each other in a circle; undefined when they could have run one by one. */
export function cycle(all: readonly Observed[], versions: Versions): number[] | undefined {
  const edges = new Map<number, Set<number>>();
  const add = (from: number, to: number): void => {
    if (from === to || from < 0 || to < 0) return;
    const set = edges.get(from) ?? new Set();
    edges.set(from, set.add(to));
  };
  for (const list of versions.values()) {
    for (let i = 1; i < list.length; i++) add(list[i - 1]!.writer, list[i]!.writer);
  }
  for (const { id, view, reads } of all) {
    for (const key of reads.keys()) {
      const list = versions.get(key) ?? [];
      const seen = versionAt(versions, key, view);
      add(seen.writer, id);
      const next = list.find(({ seq }) => seq > seen.seq);
      if (next !== undefined) add(id, next.writer);
    }
  }
  return findCycle(edges);
}

function versionAt(versions: Versions, key: string, view: number): Version {
  const list = versions.get(key) ?? [];
  return list.findLast(({ seq }) => seq <= view) ?? { seq: 0, writer: -1, value: undefined };
}

function findCycle(edges: ReadonlyMap<number, ReadonlySet<number>>): number[] | undefined {
  const done = new Set<number>();
  const path: number[] = [];
  const visit = (node: number): number[] | undefined => {
    if (done.has(node)) return undefined;
    const at = path.indexOf(node);
    if (at >= 0) return path.slice(at);
    path.push(node);
    for (const next of edges.get(node) ?? []) {
      const found = visit(next);
      if (found !== undefined) return found;
    }
    path.pop();
    done.add(node);
    return undefined;
  };
  for (const node of edges.keys()) {
    const found = visit(node);
    if (found !== undefined) return found;
  }
  return undefined;
}
