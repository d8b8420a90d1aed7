/** The shapes in which one moment can survive a power cut. */
import { Prng } from '../../src/base/prng.ts';
import {
  type CrashChooser,
  fixedChooser,
  type PendingItem,
  randomChooser,
} from '../../src/fs/crash-chooser.ts';

/** `name` is unique at its point; `make` gives the same choice each time. */
export interface Choice {
  readonly name: string;
  readonly make: () => 'none' | 'all' | CrashChooser | Prng;
}

/** A choice with every verdict given, and a name for what survives. */
export interface Settled {
  readonly chooser: CrashChooser;
  /**
   * Equal where the same changes survive over the same durable bytes; undefined where the choice may add
   * bytes of its own.
   */
  readonly survivors: string | undefined;
}

/**
 * Asks `choice` about each item of `pending`. `isWild` is for disks on which a file may grow by bytes nobody
 * wrote.
 */
export function settle(choice: Choice, pending: readonly PendingItem[], isWild: boolean): Settled {
  const made = choice.make();
  const chooser = made === 'none' || made === 'all' ? fixedChooser(made === 'all') : asChooser(made);
  const verdicts: (boolean | readonly boolean[])[] = [];
  let survivors = '';
  for (const item of pending) {
    const verdict = chooser.keep(item);
    if (typeof verdict === 'boolean') {
      verdicts.push(verdict);
      if (verdict) survivors += ` ${item.seq}`;
    } else {
      const sectors = Array.from({ length: item.sectors }, (_, sector) => verdict(sector));
      const isWhole = sectors.every(Boolean);
      verdicts.push(isWhole ? true : sectors);
      if (sectors.some(Boolean)) survivors += ` ${item.seq}`;
      if (!isWhole && sectors.some(Boolean)) survivors += `:${sectors.map(Number).join('')}`;
    }
  }
  const keep: CrashChooser['keep'] = ({ index }) => {
    const verdict = verdicts[index]!;
    return typeof verdict === 'boolean' ? verdict : (sector) => verdict[sector]!;
  };
  const extend = isWild ? chooser.extend?.bind(chooser) : undefined;
  if (extend === undefined) return { chooser: { keep }, survivors };
  return { chooser: { keep, extend }, survivors: undefined };
}

const asChooser = (made: CrashChooser | Prng): CrashChooser =>
  made instanceof Prng ? randomChooser(made) : made;

/** How many states a point has. */
export interface Breadth {
  /** Random mixtures. */
  readonly mixtures: number;
  /** States in which one pending change is missing or survives alone, drawn among all. */
  readonly singles: number;
  /** States with a directory's operations up to one of them, and with the last write up to a sector. */
  readonly cuts: number;
}

/**
 * The states of a disk with `pending`: nothing pending survives, everything, all but one, one alone, each
 * prefix of a directory's operations, the last write up to each sector, and mixtures drawn by `prng`.
 */
export function choicesAt(pending: readonly PendingItem[], prng: Prng, breadth: Breadth): Choice[] {
  const none: Choice = { name: 'none', make: () => 'none' };
  if (pending.length === 0) return [none];
  // 'all' first: of equal states it is the one that promises most.
  const choices: Choice[] = [{ name: 'all', make: () => 'all' }, none];
  const singles: Choice[] = [];
  for (let i = 0; i < pending.length && pending.length > 1; i++) {
    singles.push(choice(`without ${i}`, ({ index }) => index !== i));
    singles.push(choice(`only ${i}`, ({ index }) => index === i));
  }
  choices.push(...drawn(prng, singles, breadth.singles));
  choices.push(...drawn(prng, [...directoryCuts(pending), ...sectorCuts(pending)], breadth.cuts));
  const bits = pending.reduce((sum, { sectors }) => sum + sectors, 0);
  const mixtures = Math.min(breadth.mixtures, bits < 16 ? 2 ** bits : breadth.mixtures);
  for (let i = 0; i < mixtures; i++) {
    const seed = prng.u32();
    choices.push({ name: `mixture ${seed}`, make: () => new Prng(seed) });
  }
  return choices;
}

function choice(name: string, keep: CrashChooser['keep']): Choice {
  return { name, make: () => ({ keep }) };
}

const directoryOf = (path: string): string => path.slice(0, path.lastIndexOf('/') + 1);

function directoryCuts(pending: readonly PendingItem[]): Choice[] {
  const cuts: Choice[] = [];
  const byDir = new Map<string, number[]>();
  for (const { kind, path, index } of pending) {
    if (kind === 'write' || kind === 'truncate') continue;
    const dir = directoryOf(path);
    byDir.set(dir, [...(byDir.get(dir) ?? []), index]);
  }
  for (const [dir, indexes] of byDir) {
    for (let n = 0; n < indexes.length; n++) {
      const lost = new Set(indexes.slice(n));
      cuts.push(choice(`${n} names of /${dir}`, ({ index }) => !lost.has(index)));
    }
  }
  return cuts;
}

function sectorCuts(pending: readonly PendingItem[]): Choice[] {
  const last = pending
    .filter(({ kind }) => kind === 'write')
    .reduce<PendingItem | undefined>((a, b) => (a === undefined || b.seq > a.seq ? b : a), undefined);
  const cuts: Choice[] = [];
  for (let n = 1; n < (last?.sectors ?? 0); n++) {
    const upTo = (sector: number): boolean => sector < n;
    cuts.push(choice(`${n} sectors`, ({ index }) => (index === last!.index ? upTo : true)));
  }
  return cuts;
}

/** All of `items`, or `most` of them drawn at random. */
export function drawn<T>(prng: Prng, items: readonly T[], most: number): readonly T[] {
  if (items.length <= most) return items;
  const rest = items.slice();
  return Array.from({ length: most }, () => rest.splice(prng.below(rest.length), 1)[0]!);
}
