/** Every way in which the campaign damages a store, each addressed by a family and a number. */
import { equalBytes } from '../../src/base/bytes.ts';
import { Prng } from '../../src/base/prng.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { type BuiltStore, filesOf } from './stores.ts';

/** Bytes of a file that are no longer what they were; `to` may lie behind the end. */
export interface Span {
  readonly file: string;
  readonly from: number;
  readonly to: number;
}

export interface Mutation {
  readonly name: string;
  readonly touched: readonly Span[];
  /** One bit, or a stretch that a single fault of a disk may hit: the store must still open. */
  readonly isSmall: boolean;
  /** False when the bytes are what they were before. */
  apply(disk: MemoryFileSystem): Promise<boolean>;
}

export interface Family {
  readonly name: string;
  readonly count: number;
  at(index: number): Mutation;
}

interface FileSize {
  readonly file: string;
  readonly size: number;
}

/** `to` of a span that reaches behind every end. */
export const toEnd: number = Number.MAX_SAFE_INTEGER;
const sectors = [512, 4096] as const;

/** All families for `store`; `foreign` is another store of the same shape. */
export function familiesOf(store: BuiltStore, foreign: BuiltStore): Family[] {
  const sizes = sizesOf(store);
  return [
    flips(sizes, 1),
    fields(sizes),
    ...sectors.flatMap((size) => [zeroed(sizes, size), duplicated(sizes, size), exchanged(sizes, size)]),
    truncations(sizes),
    tails(sizes),
    deletions(sizes),
    swaps(sizes),
    replacements('rolled back', sizes, store.older),
    replacements('foreign', sizes, foreign.disk),
    // A log that went on otherwise is a log: no one can tell.
    replacements(
      'forked',
      sizes.filter(({ file }) => !file.startsWith('wal/')),
      store.forked,
    ),
  ];
}

/** For a store too large to meet every bit of: one bit of every `everyByte`-th byte. */
export function sparseFamiliesOf(store: BuiltStore, everyByte: number): Family[] {
  return [flips(sizesOf(store), everyByte)];
}

/** Every file at every shorter length, alone. */
export function truncationsOf(store: BuiltStore): Family[] {
  return [truncations(sizesOf(store))];
}

function sizesOf({ disk }: BuiltStore): FileSize[] {
  return filesOf(disk).map((file) => ({ file, size: disk.bytesOf(file).length }));
}

/** Overwrites bytes in place, without copying the file. */
async function patch(disk: MemoryFileSystem, file: string, at: number, bytes: Uint8Array): Promise<boolean> {
  const handle = await disk.open(file, 'rw');
  const old = new Uint8Array(bytes.length);
  const got = await handle.read(old, at);
  const changed = got < bytes.length || !equalBytes(old, bytes);
  if (changed) {
    await handle.write(bytes, at);
    await handle.sync();
  }
  await handle.close();
  return changed;
}

async function bytesAt(disk: MemoryFileSystem, span: Span): Promise<Uint8Array> {
  const handle = await disk.open(span.file, 'read');
  const bytes = new Uint8Array(span.to - span.from);
  await handle.read(bytes, span.from);
  await handle.close();
  return bytes;
}

/** Finds the file and offset of unit `index` when every file has `unitsOf` units. */
function locate(
  sizes: readonly FileSize[],
  index: number,
  unitsOf: (size: number) => number,
): { file: string; size: number; unit: number } {
  let left = index;
  for (const { file, size } of sizes) {
    const units = unitsOf(size);
    if (left < units) return { file, size, unit: left };
    left -= units;
  }
  throw new RangeError('there is no such mutation');
}

function total(sizes: readonly FileSize[], unitsOf: (size: number) => number): number {
  return sizes.reduce((sum, { size }) => sum + unitsOf(size), 0);
}

/** Every bit; or of every n-th byte one bit, each in turn. */
function flips(sizes: readonly FileSize[], everyByte: number): Family {
  const bits = everyByte === 1 ? 8 : 1;
  const unitsOf = (size: number): number => bits * Math.ceil(size / everyByte);
  return {
    name: everyByte === 1 ? 'flip' : `flip every ${everyByte}`,
    count: total(sizes, unitsOf),
    at(index) {
      const { file, unit } = locate(sizes, index, unitsOf);
      const at = Math.floor(unit / bits) * everyByte;
      const span = { file, from: at, to: at + 1 };
      return {
        name: `bit ${unit % 8} of byte ${at} of ${file}`,
        touched: [span],
        isSmall: true,
        async apply(disk) {
          const [byte] = await bytesAt(disk, span);
          return patch(disk, file, at, Uint8Array.of(byte! ^ (1 << (unit % 8))));
        },
      };
    },
  };
}

/** Four bytes at a time become FF, 00 or 7F. */
function fields(sizes: readonly FileSize[]): Family {
  const fills = [0xff, 0x00, 0x7f];
  const unitsOf = (size: number): number => Math.ceil(size / 4) * fills.length;
  return {
    name: 'field',
    count: total(sizes, unitsOf),
    at(index) {
      const { file, size, unit } = locate(sizes, index, unitsOf);
      const from = Math.floor(unit / fills.length) * 4;
      const to = Math.min(size, from + 4);
      const fill = fills[unit % fills.length]!;
      return {
        name: `bytes ${from}..${to} of ${file} all ${fill.toString(16)}`,
        touched: [{ file, from, to }],
        isSmall: true,
        apply: (disk) => patch(disk, file, from, new Uint8Array(to - from).fill(fill)),
      };
    },
  };
}

function blockAt(sizes: readonly FileSize[], index: number, blockBytes: number): Span {
  const { file, size, unit } = locate(sizes, index, (bytes) => Math.ceil(bytes / blockBytes));
  return { file, from: unit * blockBytes, to: Math.min(size, (unit + 1) * blockBytes) };
}

function blocks(
  name: string,
  sizes: readonly FileSize[],
  blockBytes: number,
  mutate: (block: Span, other: Span) => Omit<Mutation, 'isSmall'>,
): Family {
  const count = total(sizes, (size) => Math.ceil(size / blockBytes));
  return {
    name: `${name} ${blockBytes}`,
    count,
    at(index) {
      const other = new Prng(index).below(count);
      return {
        ...mutate(blockAt(sizes, index, blockBytes), blockAt(sizes, other, blockBytes)),
        isSmall: false,
      };
    },
  };
}

function zeroed(sizes: readonly FileSize[], blockBytes: number): Family {
  return blocks('zeroed', sizes, blockBytes, (block) => ({
    name: `bytes ${block.from}..${block.to} of ${block.file} zeroed`,
    touched: [block],
    apply: (disk) => patch(disk, block.file, block.from, new Uint8Array(block.to - block.from)),
  }));
}

function place({ file, from }: Span): string {
  return `${file} ${from}`;
}

/** A block reads as another one: a write that went astray, or was lost while an old block was there. */
function duplicated(sizes: readonly FileSize[], blockBytes: number): Family {
  return blocks('duplicated', sizes, blockBytes, (block, other) => {
    const length = Math.min(block.to - block.from, other.to - other.from);
    const hit = { ...block, to: block.from + length };
    return {
      name: `${length} bytes of ${place(other)} over ${place(block)}`,
      touched: [hit],
      async apply(disk) {
        const bytes = await bytesAt(disk, { ...other, to: other.from + length });
        return patch(disk, block.file, block.from, bytes);
      },
    };
  });
}

function exchanged(sizes: readonly FileSize[], blockBytes: number): Family {
  return blocks('exchanged', sizes, blockBytes, (block, other) => {
    const length = Math.min(block.to - block.from, other.to - other.from);
    const one = { ...block, to: block.from + length };
    const two = { ...other, to: other.from + length };
    return {
      name: `${length} bytes of ${place(block)} and ${place(other)} exchanged`,
      touched: [one, two],
      async apply(disk) {
        const [first, second] = [await bytesAt(disk, one), await bytesAt(disk, two)];
        const changed = await patch(disk, one.file, one.from, second);
        return (await patch(disk, two.file, two.from, first)) || changed;
      },
    };
  });
}

/** Every file at every shorter length. */
function truncations(sizes: readonly FileSize[]): Family {
  return {
    name: 'truncated',
    count: total(sizes, (size) => size),
    at(index) {
      const { file, unit: length } = locate(sizes, index, (size) => size);
      return {
        name: `${file} cut to ${length} bytes`,
        touched: [{ file, from: length, to: toEnd }],
        isSmall: false,
        async apply(disk) {
          const handle = await disk.open(file, 'rw');
          await handle.truncate(length);
          await handle.sync();
          await handle.close();
          return true;
        },
      };
    },
  };
}

/** Garbage behind the end: zeros, noise, or what the file itself begins with. */
function tails(sizes: readonly FileSize[]): Family {
  const lengths = [1, 7, 64, 512, 4096];
  const kinds = ['zeros', 'noise', 'the file again'] as const;
  const each = lengths.length * kinds.length;
  return {
    name: 'garbage tail',
    count: sizes.length * each,
    at(index) {
      const { file, size } = sizes[Math.floor(index / each)]!;
      const length = lengths[index % lengths.length]!;
      const kind = kinds[Math.floor(index / lengths.length) % kinds.length]!;
      return {
        name: `${length} bytes of ${kind} behind ${file}`,
        touched: [{ file, from: size, to: size + length }],
        isSmall: true,
        async apply(disk) {
          const noise = kind === 'zeros' ? new Uint8Array(length) : new Prng(index).bytes(length);
          const tail = kind === 'the file again' ? await bytesAt(disk, { file, from: 0, to: length }) : noise;
          return patch(disk, file, size, tail);
        },
      };
    },
  };
}

function whole(file: string): Span {
  return { file, from: 0, to: toEnd };
}

function deletions(sizes: readonly FileSize[]): Family {
  return {
    name: 'deleted',
    count: sizes.length,
    at(index) {
      const { file } = sizes[index]!;
      return {
        name: `${file} deleted`,
        touched: [whole(file)],
        isSmall: false,
        apply: (disk) => disk.unlink(file),
      };
    },
  };
}

async function overwrite(disk: MemoryFileSystem, file: string, bytes: Uint8Array): Promise<void> {
  const there = await disk.stat(file);
  const handle = await disk.open(file, there === null ? 'create' : 'rw');
  await handle.truncate(0);
  await handle.write(bytes, 0);
  await handle.sync();
  await handle.close();
}

function swaps(sizes: readonly FileSize[]): Family {
  const n = sizes.length;
  return {
    name: 'swapped',
    count: (n * (n - 1)) / 2,
    at(index) {
      let first = 0;
      let left = index;
      while (left >= n - 1 - first) left -= n - 1 - first++;
      const one = sizes[first]!.file;
      const two = sizes[first + 1 + left]!.file;
      return {
        name: `${one} and ${two} swapped`,
        touched: [whole(one), whole(two)],
        isSmall: false,
        async apply(disk) {
          const [a, b] = [disk.bytesOf(one), disk.bytesOf(two)];
          await overwrite(disk, one, b);
          await overwrite(disk, two, a);
          return !equalBytes(a, b);
        },
      };
    },
  };
}

/** A file is replaced by the one of that name, or else of that kind, on another disk. */
function replacements(name: string, sizes: readonly FileSize[], source: MemoryFileSystem): Family {
  const others = filesOf(source);
  const kind = (file: string): string => file.slice(0, 3);
  const pairs = sizes.flatMap(({ file }) => {
    const same = others.filter((other) => other === file);
    const alike = same.length > 0 ? same : others.filter((other) => kind(other) === kind(file));
    return alike.map((other) => ({ file, other }));
  });
  return {
    name,
    count: pairs.length,
    at(index) {
      const { file, other } = pairs[index]!;
      return {
        name: `${file} replaced by ${other} (${name})`,
        touched: [whole(file)],
        isSmall: false,
        async apply(disk) {
          const bytes = source.bytesOf(other);
          const changed = !equalBytes(bytes, disk.bytesOf(file));
          await overwrite(disk, file, bytes);
          return changed;
        },
      };
    },
  };
}
