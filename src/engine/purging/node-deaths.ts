/**
 * Death of list nodes: a node whose last reference is gone leaves the index, its children lose one reference
 * each, and those that are nodes themselves may be next.
 *
 * A node is looked at when a version that had it as root was purged, or its parent died. That it waits is a
 * system row (`node/`), so a crash forgets none. Its bytes are needed to release its children, and readers of
 * the purged version need its place: it stays until nobody reads below the purge.
 *
 * Invariants (test/engine/purger.test.ts)
 * - A node dies only with no reference left, and while no running put works with it, or has found a chunk of
 *   its very bytes (chunk/put-guard.ts), all decided when its LISTDROP is sequenced.
 * - When nothing waits any more, every node in the index is referenced or belongs to a put that was given up
 *   (the end of each history of "what is purged equals a search of all versions, and what is kept is read").
 */
import type { Seq } from '../../base/brands.ts';
import { toHex } from '../../base/bytes.ts';
import { isDamage } from '../../base/errors.ts';
import { listDropsMax, reapBytesTarget, reapRowsMax } from '../../base/limits.ts';
import type { ChunkStore } from '../../chunk/chunk-store.ts';
import type { NodePresence } from '../../chunk/node-presence.ts';
import type { ByteWriter } from '../../codec/byte-writer.ts';
import { chunkIdBytes, chunkKinds } from '../../format/chunk-ref.ts';
import { chunkEntryFlags } from '../../format/chunk-table.ts';
import { parseListNode } from '../../format/list-node.ts';
import { putSys } from '../../format/log-ops.ts';
import { purgeOpBytes, putListDrop } from '../../format/purge-ops.ts';
import { decodeNodeKey, nodeKey, nodePrefix } from '../../format/system-rows.ts';
import type { ChunkProbe } from '../../tree/chunk-scans.ts';
import type { Forest } from '../../tree/forest.ts';
import { isPinned, type KeepRule } from '../../tree/keep-rule.ts';
import type { TxnWriter } from '../../txn/txn-writer.ts';
import { queueFrom, scanQueue } from '../background/queue-scan.ts';
import type { HealthBook } from '../health/health-book.ts';

/** Nobody reads numbers from <= S < to any more when the node may go. */
interface Waiting {
  readonly id: Uint8Array;
  readonly space: number;
  readonly from: Seq;
  readonly to: Seq;
}

/** A node that was looked at. */
interface Judged {
  readonly waiting: Waiting;
  readonly probe: ChunkProbe;
  /** Of a node without references: ids of its children, and whether they are nodes. */
  readonly children: Uint8Array | undefined;
  readonly hasNodes: boolean;
}

export interface NodeDeathsOptions {
  readonly forest: Forest;
  readonly txn: TxnWriter;
  readonly chunks: ChunkStore;
  readonly presence: NodePresence;
  readonly health: HealthBook;
  readonly keepRule: () => KeepRule;
}

const emptyValue = new Uint8Array(0);

/** Appends the row that remembers a node until it was looked at. */
export function putNodeRow(writer: ByteWriter, id: Uint8Array, at: number): void {
  putSys(writer, nodeKey(id, at), emptyValue);
}

export class NodeDeaths {
  /** Nodes that died since the engine was opened. */
  died = 0;
  readonly #options: NodeDeathsOptions;
  readonly #waiting = new Map<string, Waiting>();
  /** Looked at while a put was using them, or since they changed: not before something else has happened. */
  readonly #deferred = new Set<string>();
  /** Where reading of the rows that an earlier run has left goes on; undefined: read. */
  #rowsFrom: Uint8Array | undefined = queueFrom(nodePrefix, 0).subarray(0, nodePrefix.length);

  constructor(options: NodeDeathsOptions) {
    this.#options = options;
  }

  /** Waiting nodes that are known. */
  get pending(): number {
    return this.#waiting.size;
  }

  /**
   * The node lost a reference with the purge `to` of a version `from`: readers between may still read it. It
   * waits for all that was said of it; `to` 0: nobody reads it as far as the caller knows.
   */
  add(id: Uint8Array, space: number, from: Seq, to: Seq): void {
    const name = toHex(id);
    this.#deferred.delete(name);
    const before = this.#waiting.get(name);
    if (before === undefined || before.to === 0) this.#waiting.set(name, { id, space, from, to });
    else if (to > 0) {
      const last = to > before.to ? { space, to } : before;
      this.#waiting.set(name, { id, space: last.space, from: Math.min(before.from, from), to: last.to });
    }
  }

  /** Something has happened: nodes that were deferred are looked at again. */
  wake(): void {
    this.#deferred.clear();
  }

  isDue(rule: KeepRule): boolean {
    return this.#rowsFrom !== undefined || this.#next(rule, 1).length > 0;
  }

  /** Looks at some nodes; the transaction that ends those that are dead, if any. */
  async step(isOver: () => boolean): Promise<{ bytes: number; done: Promise<void> } | undefined> {
    if (this.#rowsFrom !== undefined) {
      await this.#load(this.#rowsFrom);
      return undefined;
    }
    const judged: Judged[] = [];
    let bytes = 0;
    for (const waiting of this.#next(this.#options.keepRule(), listDropsMax)) {
      if (bytes >= reapBytesTarget) break;
      const one = await this.#judge(waiting);
      if (one === undefined) continue;
      judged.push(one);
      bytes += rowBytes + (one.children === undefined ? 0 : purgeOpBytes + 2 * one.children.length);
    }
    return isOver() ? undefined : this.#commit(judged, bytes);
  }

  async #load(from: Uint8Array): Promise<void> {
    const { forest } = this.#options;
    const slice = await scanQueue(forest.system, nodePrefix, from, () => true, reapRowsMax);
    for (const key of slice.keys) {
      // Whoever could have read below the purge was gone when the store was opened.
      this.add(decodeNodeKey(key), 0, 0, 0);
    }
    this.#rowsFrom = slice.next;
  }

  #next(rule: KeepRule, count: number): Waiting[] {
    const next: Waiting[] = [];
    for (const [name, waiting] of this.#waiting) {
      if (next.length === count) break;
      if (this.#deferred.has(name)) continue;
      const { space, from, to } = waiting;
      const isRead = to > 0 && (to > rule.horizonOf(space) || isPinned(rule.pinned, from, to));
      if (!isRead) next.push(waiting);
    }
    return next;
  }

  /** Undefined when the node cannot be decided now. */
  async #judge(waiting: Waiting): Promise<Judged | undefined> {
    const { forest, presence, chunks, health } = this.#options;
    const { id } = waiting;
    if (presence.isUsed(id, 0) || chunks.guard.isHeld(id, 0)) return this.#defer(id);
    const probe = await forest.chunks.probe(id);
    const { refs, flags, kind } = probe.columns;
    const isPresent = (flags & chunkEntryFlags.hasLocation) !== 0 && kind === chunkKinds.list;
    const isDead = isPresent && refs === 0 && (flags & chunkEntryFlags.saturated) === 0;
    if (!isDead) return { waiting, probe, children: undefined, hasNodes: false };
    try {
      const bytes = await chunks.read(id, undefined, chunkKinds.list);
      const node = parseListNode(bytes, { file: toHex(id) });
      const children = new Uint8Array(node.count * chunkIdBytes);
      for (let i = 0; i < node.count; i++) {
        const at = node.childIdAt(i);
        children.set(bytes.subarray(at, at + chunkIdBytes), i * chunkIdBytes);
      }
      return { waiting, probe, children, hasNodes: node.level > 0 };
    } catch (error) {
      // A node that cannot be read keeps its children: that is no reason to keep others.
      if (!isDamage(error)) throw error;
      health.note(error);
      return this.#defer(id);
    }
  }

  #defer(id: Uint8Array): undefined {
    this.#deferred.add(toHex(id));
    return undefined;
  }

  /** Decides again, in the section that sequences: what has changed since it was looked at waits on. */
  #commit(judged: readonly Judged[], bytes: number): { bytes: number; done: Promise<void> } | undefined {
    const { forest, presence, chunks, txn } = this.#options;
    const sure = judged.filter(({ probe }) => {
      const isSure =
        forest.chunks.isCurrent(probe) && !presence.isUsed(probe.id, 0) && !chunks.guard.isHeld(probe.id, 0);
      if (!isSure) this.#defer(probe.id);
      return isSure;
    });
    if (sure.length === 0) return undefined;
    const committed = txn.sequence(bytes, (writer) => {
      // A node may be let go here that another one here has as its child: then it waits again.
      for (const { probe } of sure) putSys(writer, nodeKey(probe.id, 0), undefined);
      for (const { probe, children, hasNodes } of sure) {
        if (children === undefined) continue;
        putListDrop(writer, probe.id, 0, children);
        if (hasNodes) eachId(children, (id) => putNodeRow(writer, id, 0));
      }
    });
    for (const { probe } of sure) this.#waiting.delete(toHex(probe.id));
    for (const { waiting, children, hasNodes } of sure) {
      if (children === undefined) continue;
      this.died++;
      const { space, from, to } = waiting;
      if (hasNodes) eachId(children, (id) => this.add(id, space, from, to));
    }
    return { bytes, done: committed.done };
  }
}

/** What the row of a node takes in the log, about. */
const rowBytes = 64;

function eachId(ids: Uint8Array, visit: (id: Uint8Array) => void): void {
  for (let at = 0; at < ids.length; at += chunkIdBytes) visit(ids.slice(at, at + chunkIdBytes));
}
