/**
 * The packs a verify looks at, one after another as long as there is time. At level 3 the first of them are
 * read and hashed from the beginning, while the trees of the backups are walked.
 */

import type { Trailer } from '../format/segment.ts';
import type { HashThreads } from '../pool/id-checker.ts';
import { Ahead } from './ahead.ts';
import { PackDigests } from './pack-digests.ts';
import { type ProveOptions, provePack } from './prove-pack.ts';
import { type Slices, throwIfAborted } from './throttle.ts';
import { steadily } from './vault-index.ts';
import type { VaultEnv, VaultState } from './vault-state.ts';
import {
  agreesWithIndex,
  checkPackTrailer,
  checkPackWhole,
  idsOf,
  type KnownOfPack,
  type PackDamage,
  PackMemory,
} from './verify-pack.ts';
import { Rotation } from './verify-rotation.ts';

/** Packs that are read at the same time: while chunks of one are still hashed, the next is read. */
const provedAtOnce = 2;

/** What a verify of packs is given; all borrowed. */
export interface PacksOptions {
  readonly env: VaultEnv;
  readonly state: VaultState;
  /** Numbers of packs that no index object names. */
  readonly orphans: ReadonlySet<number>;
  /** 2: trailers; 3: every byte. */
  readonly level: number;
  readonly threads: HashThreads | undefined;
  readonly slices: Slices;
  readonly subset: { readonly part: number; readonly of: number } | undefined;
  readonly rotate: number | undefined;
  /** There may be no time for all of them: none is read ahead of its turn. */
  readonly isTimed: boolean;
  readonly isOver: () => boolean;
  readonly signal: AbortSignal | undefined;
  /** Runs a check, and notes the damage it throws with the ids it `concerned`. */
  readonly attempt: (
    concerned: () => Promise<readonly string[]>,
    check: () => Promise<void>,
  ) => Promise<void>;
  readonly note: (found: PackDamage) => void;
  readonly onProgress: (done: number, total: number) => void;
}

/** What was made out of a pack at once, and how. */
interface Proof {
  /** Undefined: it is not proved. */
  readonly trailer: Trailer | undefined;
  readonly options: ProveOptions;
}

export class PacksCheck {
  readonly #options: PacksOptions;
  readonly #chosen: readonly number[];
  readonly #rotation: Rotation | undefined;
  readonly #memory = new PackMemory();
  /** Undefined below level 3, which reads packs whole. */
  readonly #proofs: Ahead<Proof> | undefined;
  #digests!: PackDigests;
  /** Packs that were looked at. */
  packs = 0;
  /** Bytes read of them. */
  bytes = 0;
  /** All that were chosen have been. */
  complete = true;

  private constructor(options: PacksOptions, chosen: readonly number[], rotation: Rotation | undefined) {
    this.#options = options;
    this.#chosen = chosen;
    this.#rotation = rotation;
    this.#proofs = options.level < 3 ? undefined : this.#newProofs();
    if (!options.isTimed) this.#proofs?.start();
  }

  /** Chooses packs and begins to read; `settled` ends it in any case. */
  static async begin(options: PacksOptions): Promise<PacksCheck> {
    const { env, state, level, subset, rotate } = options;
    const { part, of } = subset ?? { part: 1, of: 1 };
    const hashes = state.packs.map(({ hash }) => hash);
    const rotation = rotate === undefined ? undefined : await Rotation.load(env, level);
    const chosen =
      rotation?.choose(hashes, rotate!) ??
      [...hashes.keys()].filter((i) => Number.parseInt(hashes[i]!.slice(0, 8), 16) % of === part - 1);
    return new PacksCheck(options, chosen, rotation);
  }

  /** When the last round began that has looked at every pack there was. */
  get coveredSince(): Date | undefined {
    return this.#rotation?.coveredSince;
  }

  /** Looks at each pack. */
  async run(): Promise<void> {
    const { state, slices, attempt } = this.#options;
    const last = state.packs
      .map(({ hash }) => hash)
      .sort()
      .at(-1);
    this.#digests = await steadily(() => PackDigests.of(state.index, () => slices.step()));
    await this.#each(async (number) => {
      const { hash } = state.packs[number]!;
      await attempt(
        () => idsOf(state, number),
        () => this.#check(number),
      );
      this.#rotation?.passed(hash, hash === last);
    });
    await this.#rotation?.save();
  }

  /** Resolves when nothing is under way. */
  async settled(): Promise<void> {
    await this.#proofs?.settled();
  }

  /** Runs `check` for each pack, as long as there is time. */
  async #each(check: (number: number) => Promise<void>): Promise<void> {
    const { signal, isOver, onProgress } = this.#options;
    for (const [done, number] of this.#chosen.entries()) {
      throwIfAborted(signal);
      // A rotation moves on however little time there is.
      if (isOver() && (done > 0 || this.#rotation === undefined)) {
        this.complete = false;
        return;
      }
      onProgress(done, this.#chosen.length);
      await check(number);
      this.packs++;
    }
  }

  #newProofs(): Ahead<Proof> {
    const { env, state, slices } = this.#options;
    let left = this.#chosen.reduce((sum, number) => sum + state.packs[number]!.size, 0);
    const pause = (): Promise<void> | undefined => slices.step();
    return new Ahead(this.#chosen, provedAtOnce, async (number) => {
      const pack = state.packs[number]!;
      const options = { threads: this.#threadsFor(pack.size, left), pause };
      left -= pack.size;
      return { trailer: await provePack(env, pack, options), options };
    });
  }

  async #check(number: number): Promise<void> {
    const { env, state, orphans, note } = this.#options;
    const known: KnownOfPack = { digests: this.#digests, isOrphan: orphans.has(number) };
    if (this.#proofs === undefined) {
      await checkPackTrailer(env, state, number, known);
      return;
    }
    const { trailer, options } = await this.#proofs.next();
    if (trailer === undefined || !agreesWithIndex(number, trailer, known)) {
      const memory = this.#memory;
      for (const found of await checkPackWhole(env, state, number, known, { ...options, memory }))
        note(found);
    }
    this.bytes += state.packs[number]!.size;
  }

  /** Threads where what is left of the check pays for them. */
  #threadsFor(bytes: number, ahead: number): HashThreads | undefined {
    const { threads } = this.#options;
    if (threads?.jobs.pays(ahead) === true) return threads;
    threads?.jobs.passed(bytes);
    return undefined;
  }
}
