/** A small real store, made anew whenever the document is: the bytes shown are what the engine writes. */
import type { Clock } from '../../../src/base/clock.ts';
import { Prng } from '../../../src/base/prng.ts';
import { openWithEnv } from '../../../src/engine/opening/open.ts';
import { superSlot } from '../../../src/format/superblock.ts';
import { MemoryFileSystem } from '../../../src/fs/memory-file-system.ts';
import { memoryLock } from '../../../src/fs/memory-lock.ts';

/** Time of every commit of the example, ms since 1970. */
const exampleMs = 1_700_000_000_000;

const stoppedClock: Clock = {
  now: () => exampleMs,
  monotonic: () => exampleMs,
  sleep: () => Promise.resolve(),
  turn: () => new Promise((resolve) => setImmediate(resolve)),
  keepAlive: () => () => undefined,
};

/** The example's files before and after its clean close. */
interface Example {
  readonly open: MemoryFileSystem;
  readonly closed: MemoryFileSystem;
}

async function makeExample(): Promise<Example> {
  const disk = new MemoryFileSystem();
  const prng = new Prng(1);
  const lock = memoryLock(disk, stoppedClock);
  const env = { fs: disk, lock, clock: stoppedClock, random: (n: number) => prng.bytes(n) };
  const engine = await openWithEnv(env);
  await engine.put('hello', 'world', { contentType: 'text/plain' });
  await engine.put('long', 'ab'.repeat(600));
  await engine.delete('hello');
  const open = disk.fork();
  await engine.close();
  return { open, closed: disk };
}

/** Names and sizes of the example's files, and the bytes of the interesting ones. */
export async function exampleText(): Promise<string> {
  const { open, closed } = await makeExample();
  const parts = [
    'While the store is open:',
    listing(open),
    'The log, whole:',
    dump(open, newest(open, '.wal')),
    'The first 160 bytes of the segment:',
    dump(open, newest(open, '.seg'), 160),
    'After a clean close:',
    listing(closed),
    `The used part of the newest slot of SUPER (its checksum lies at ${superSlot.at.checksum} of the slot):`,
    newestSlot(closed),
    'The catalog it names, whole:',
    dump(closed, newest(closed, '.cat')),
    'The table of the key tree, whole:',
    dump(closed, keyTable(closed)),
  ];
  return parts.join('\n\n');
}

function listing(disk: MemoryFileSystem): string {
  const rows = disk
    .files()
    .sort()
    .map((path) => `${String(disk.bytesOf(path).length).padStart(6)}  ${path}`);
  return fenced(rows);
}

function newest(disk: MemoryFileSystem, ending: string): string {
  const path = disk
    .files()
    .filter((name) => name.endsWith(ending))
    .sort()
    .at(-1);
  if (path === undefined) throw new Error(`the example has no ${ending}`);
  return path;
}

/** Sub kind 1 of a table's header: tree K. */
function keyTable(disk: MemoryFileSystem): string {
  const path = disk.files().find((name) => name.endsWith('.tab') && disk.bytesOf(name)[11] === 1);
  if (path === undefined) throw new Error('the example has no table of keys');
  return path;
}

function newestSlot(disk: MemoryFileSystem): string {
  const bytes = disk.bytesOf('SUPER');
  const slots = [0, 1, 2, 3].map((i) => bytes.subarray(i * superSlot.size, (i + 1) * superSlot.size));
  const generation = (slot: Uint8Array): number => slot[superSlot.at.generation]!;
  const best = slots.reduce((a, b) => (generation(b) > generation(a) ? b : a));
  const rows = [
    ...hexRows(best.subarray(0, 224), 0),
    '…',
    ...hexRows(best.subarray(-16), superSlot.size - 16),
  ];
  return fenced(rows);
}

function dump(disk: MemoryFileSystem, path: string, bytesMax?: number): string {
  const bytes = disk.bytesOf(path);
  return fenced([path, ...hexRows(bytes.subarray(0, bytesMax ?? bytes.length), 0)]);
}

/** Offset, 16 bytes, their text; rows of zeros in a row are one `*`. */
function hexRows(bytes: Uint8Array, base: number): string[] {
  const rows: string[] = [];
  let zeros = 0;
  for (let at = 0; at < bytes.length; at += 16) {
    const row = bytes.subarray(at, at + 16);
    zeros = row.every((byte) => byte === 0) ? zeros + 1 : 0;
    if (zeros === 2) rows.push('*');
    if (zeros >= 2) continue;
    const hex = Array.from(row, (byte) => byte.toString(16).padStart(2, '0')).join(' ');
    const text = Array.from(row, (byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : '.'));
    rows.push(`${(base + at).toString(16).padStart(4, '0')}  ${hex.padEnd(47)}  ${text.join('')}`);
  }
  return rows;
}

function fenced(rows: readonly string[]): string {
  return ['```text', ...rows, '```'].join('\n');
}
