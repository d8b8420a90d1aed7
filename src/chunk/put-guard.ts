/**
 * What keeps cleaning and puts apart. A put relies on chunks before any count or entry says so: on frames it
 * has appended or found in a trailer (no entry names them yet), and on chunks of the tree whose count is
 * still to rise. It claims them here until the tree holds them.
 *
 * Cleaning condemns a segment first: from then on none of its chunks is a hit, so no new claim can reach it.
 * When the claims on its frames are gone, and chunks still claimed by their id count as live, nothing that
 * cleaning finds dead can come back: hit -> claim -> commit happens before the count is taken, or the lookup
 * comes after the condemnation and is a miss. Both orders are decided on one thread.
 *
 * Why chunks of the tree are claimed by id and not by segment: while a put waits, another one may store the
 * same chunk anew (its segment was condemned, or is damaged), so that the tree names another segment than the
 * one the hit was found in; cleaning looks at the one the tree names.
 *
 * Invariants (test/chunk/put-guard.test.ts, test/engine/cleaner-schedules.test.ts)
 * - A segment is pinned exactly while a claim on a frame of it stands ("pins go with the claims that made
 *   them").
 * - A claim is taken in the turn of its lookup, or before it.
 * - What `heldNow` gives does not shrink with claims released later ("ids held at a moment stay held for who
 *   asked then").
 */
import { assert } from '../base/assert.ts';
import type { FileNo } from '../base/brands.ts';
import { IdSet } from './id-set.ts';

/** Ids that were claimed at one moment. May say yes to others, which only keeps garbage for longer. */
export interface HeldIds {
  has(id: Uint8Array, at: number): boolean;
}

/** Claims made since the last STAGE frame of a put. */
interface Portion {
  readonly segments: Set<FileNo>;
  readonly ids: IdSet;
}

export class PutGuard {
  /** Bytes of frames that puts have stored and given up: garbage nobody has counted. */
  abandonedBytes = 0;
  readonly #condemned = new Set<FileNo>();
  readonly #pins = new Map<FileNo, number>();
  readonly #ids = new Set<IdSet>();
  #waiting: (() => void)[] = [];

  /** Chunks of this segment are no hits from now on. */
  condemn(segment: FileNo): void {
    this.#condemned.add(segment);
  }

  /** The segment is spared, or gone. */
  pardon(segment: FileNo): void {
    this.#condemned.delete(segment);
  }

  isCondemned(segment: FileNo): boolean {
    return this.#condemned.has(segment);
  }

  isPinned(segment: FileNo): boolean {
    return this.#pins.has(segment);
  }

  /** Resolves when a claim on some frame has been released: then ask `isPinned` again. */
  released(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** The ids claimed now. */
  heldNow(): HeldIds {
    const sets = Array.from(this.#ids);
    return { has: (id, at) => sets.some((set) => set.has(id, at)) };
  }

  /** True while a put under way relies on the chunk being in the tree. */
  isHeld(id: Uint8Array, at: number): boolean {
    return this.heldNow().has(id, at);
  }

  /** The claims of a put that begins. */
  begin(): PutClaims {
    return new PutClaims(this);
  }

  /** For PutClaims. */
  pin(segment: FileNo): void {
    this.#pins.set(segment, (this.#pins.get(segment) ?? 0) + 1);
  }

  unpin(segment: FileNo): void {
    const pins = this.#pins.get(segment) ?? 0;
    assert(pins > 0, 'a pin is released once');
    if (pins > 1) this.#pins.set(segment, pins - 1);
    else this.#pins.delete(segment);
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }

  keep(ids: IdSet): void {
    this.#ids.add(ids);
  }

  letGo(ids: IdSet): void {
    this.#ids.delete(ids);
  }
}

/** The claims of one put. */
export class PutClaims {
  readonly #guard: PutGuard;
  readonly #nodes = new Set<FileNo>();
  readonly #portions = new Set<Portion>();
  #current: Portion | undefined;

  constructor(guard: PutGuard) {
    this.#guard = guard;
  }

  /** A frame of data in this segment, which no entry of the tree is known to name. */
  frame(segment: FileNo): void {
    const { segments } = this.#open();
    if (segments.has(segment)) return;
    segments.add(segment);
    this.#guard.pin(segment);
  }

  /** A chunk of the tree, or one that is about to be looked up there. */
  entry(id: Uint8Array, at: number): void {
    this.#open().ids.add(id, at);
  }

  /** A frame of a list node: claimed to the end, as its parent comes last. */
  node(segment: FileNo): void {
    if (this.#nodes.has(segment)) return;
    this.#nodes.add(segment);
    this.#guard.pin(segment);
  }

  /** Ids claimed since the last STAGE frame. */
  get ids(): number {
    return this.#current?.ids.count ?? 0;
  }

  /**
   * Everything claimed so far but nodes is about to be held by the list nodes of a STAGE frame; call what it
   * returns when that frame is durable.
   */
  staged(): () => void {
    const portion = this.#current;
    this.#current = undefined;
    return () => {
      if (portion !== undefined) this.#letGo(portion);
    };
  }

  /** Ends every claim; idempotent. */
  release(): void {
    this.#current = undefined;
    for (const portion of this.#portions) this.#letGo(portion);
    for (const segment of this.#nodes) this.#guard.unpin(segment);
    this.#nodes.clear();
  }

  #open(): Portion {
    if (this.#current !== undefined) return this.#current;
    const portion = { segments: new Set<FileNo>(), ids: new IdSet() };
    this.#portions.add(portion);
    this.#guard.keep(portion.ids);
    this.#current = portion;
    return portion;
  }

  #letGo(portion: Portion): void {
    if (!this.#portions.delete(portion)) return;
    this.#guard.letGo(portion.ids);
    for (const segment of portion.segments) this.#guard.unpin(segment);
  }
}
