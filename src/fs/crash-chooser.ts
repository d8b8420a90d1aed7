/** What survives a power cut: the items at stake, and ways to choose among them. */
import type { Prng } from '../base/prng.ts';

/** One change that a power cut may lose. */
export interface PendingItem {
  readonly kind: 'write' | 'truncate' | 'create' | 'mkdir' | 'rename' | 'link' | 'unlink' | 'rmdir';
  readonly path: string;
  /** Position in the list that `MemoryFileSystem.pending()` gives; the same for each crash of one state. */
  readonly index: number;
  /** Number of the operation that made it. */
  readonly seq: number;
  /** Sectors a write touches (512 bytes unless the disk has others); 1 for everything else. */
  readonly sectors: number;
}

export interface CrashChooser {
  /** True when the item survives. For a write also a choice per sector. Asked once per item, in order. */
  keep(item: PendingItem): boolean | ((sector: number) => boolean);
  /**
   * Profile 'wild' only: bytes that appear after `from`, where the file now ends, because its size reached
   * the disk before its data. At most `to - from` of them.
   */
  extend?(path: string, from: number, to: number): Uint8Array | undefined;
}

/** Everything pending survives, or nothing of it. */
export function fixedChooser(keep: boolean): CrashChooser {
  return { keep: () => keep };
}

/**
 * A choice by a seeded generator: the rate at which items survive is drawn once, so that nearly-all and
 * nearly-none states come up as well as mixtures; a quarter of the writes is torn.
 */
export function randomChooser(prng: Prng): CrashChooser {
  const rate = prng.pick([0, 0.1, 0.5, 0.5, 0.9, 0.98, 1]);
  return {
    keep(item) {
      if (item.kind !== 'write' || item.sectors < 2 || !prng.chance(0.25)) return prng.chance(rate);
      if (prng.chance(0.5)) {
        const cut = prng.below(item.sectors + 1);
        return (sector) => sector < cut;
      }
      const kept = prng.bytes(item.sectors);
      return (sector) => kept[sector]! < 128;
    },
    extend(_path, from, to) {
      if (!prng.chance(0.5)) return undefined;
      const length = prng.below(Math.min(to - from, 64 * 1024) + 1);
      return prng.chance(0.5) ? new Uint8Array(length) : prng.bytes(length);
    },
  };
}
