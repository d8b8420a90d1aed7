/**
 * States that differ only in bytes nobody asks for. A check of a state is a function of what it reads of the
 * disk: the names that are there, the sizes it asks for and the files it reads. Where another disk has the
 * same names, those sizes and those files, byte for byte, the same check of it does the same to the end. So
 * it has been made already: of a table that no catalog names yet, say, it does not matter which sectors are
 * there.
 *
 * Times of files are not compared: nothing in the engine that runs here asks for them. A check that renames
 * is not kept, since what it reads by the new name is not known by it.
 *
 * Invariant (test/crash/read-alike.test.ts)
 * - A disk is known only when every file that the check read has the same bytes, and nothing came or went
 *   ("… is known until a file changes that the check has read, or a name").
 */
import { encodeUtf8 } from '../../src/base/bytes.ts';
import { xxh64 } from '../../src/codec/checksum.ts';
import type { DiskContents, MemoryFileSystem } from '../../src/fs/memory-file-system.ts';

/** How a check looks at a file of the disk it is given. */
type Looks = Map<string, 'size' | 'digest'>;

/** Files that checks looked at, and by the digest of what they found there what came of it. */
interface Kept {
  readonly looks: readonly (readonly [path: string, how: 'size' | 'digest'])[];
  readonly results: Map<bigint, number>;
}

/** Kept of all states together: then everything is forgotten. */
const digestsMax = 300_000;
/** Sets of files that are compared with a disk of the same names. */
const setsMax = 24;

/** A disk while its check goes on; see ReadAlike.watch. */
export interface Watched {
  /** A file that the check has read without the port. */
  readonly noteRead: (path: string) => void;
  /** The check has passed with this result: disks that look the same to it are known from now on. */
  readonly passed: (result: number) => void;
}

export class ReadAlike {
  #byNames = new Map<bigint, Kept[]>();
  #digests = 0;

  /**
   * The result of a check that has passed on a disk that looks like this one; undefined when none has.
   * `words`: all that the check depends on beside the disk.
   */
  resultOf(disk: DiskContents, words: string): number | undefined {
    for (const { looks, results } of this.#byNames.get(namesOf(disk, words)) ?? []) {
      const result = results.get(digestOf(disk, looks));
      if (result !== undefined) return result;
    }
    return undefined;
  }

  /** Before a check of `disk`, which must not have a hook for faults; it has one until `passed`. */
  watch(disk: MemoryFileSystem, words: string): Watched {
    const before = disk.contents();
    const looks: Looks = new Map();
    let renames = false;
    disk.faults = ({ kind, path }) => {
      if (kind === 'rename' || kind === 'link') renames = true;
      else if (kind === 'open' || kind === 'read') looks.set(path, 'digest');
      else if ((kind === 'stat' || kind === 'size') && !looks.has(path)) looks.set(path, 'size');
      return undefined;
    };
    return {
      noteRead: (path) => looks.set(path, 'digest'),
      passed: (result) => {
        disk.faults = undefined;
        if (!renames) this.#keep(before, looks, words, result);
      },
    };
  }

  #keep(disk: DiskContents, all: Looks, words: string, result: number): void {
    if (this.#digests++ === digestsMax) {
      this.#byNames.clear();
      this.#digests = 1;
    }
    // What was made during the check came from it.
    const looks = Array.from(all).filter(([path]) => disk.get(path) !== undefined);
    looks.sort(([a], [b]) => (a < b ? -1 : 1));
    const names = namesOf(disk, words);
    const kept = this.#byNames.get(names) ?? [];
    this.#byNames.set(names, kept);
    const text = looks.join();
    const same = kept.find((one) => one.looks.join() === text);
    const digest = digestOf(disk, looks);
    if (same !== undefined) same.results.set(digest, result);
    else if (kept.length < setsMax) kept.push({ looks, results: new Map([[digest, result]]) });
  }
}

function namesOf(disk: DiskContents, words: string): bigint {
  let text = words;
  for (const [path, mark] of disk) text += `\0${path}${mark === undefined ? '/' : ''}`;
  return xxh64(encodeUtf8(text));
}

function digestOf(disk: DiskContents, looks: Kept['looks']): bigint {
  let text = '';
  for (const [path, how] of looks) text += `${disk.get(path)![how]} `;
  return xxh64(encodeUtf8(text));
}
