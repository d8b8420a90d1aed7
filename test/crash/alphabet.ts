/**
 * Every sequence of one, two and three calls over all that the engine can be asked, on an empty and on a
 * prepared store, in each strictness of the disk: numbered, so that a number replays one.
 *
 * Sequences share their beginnings. Crashes before the last call of a sequence are those of a shorter one, so
 * only the last call and the close after it are crashed.
 */
import { Prng } from '../../src/base/prng.ts';
import type { FsProfile } from '../../src/fs/sim-names.ts';
import type { StoreShape } from './machine.ts';
import { type Call, counterKey, type Step, type Workload } from './workload.ts';

export const profiles: readonly FsProfile[] = ['posix', 'ext4', 'wild'];
export const lengthMax = 3;

/** Small, so that one value seals a segment and one is a list. */
export const sequenceShape: StoreShape = {
  durability: 'full',
  algorithm: 'fastcdc',
  // Frames of the log reach over several sectors.
  inlineMax: 800,
  segmentBytes: 8192,
  stageBirthsMax: 4,
  merges: true,
  // A range of a few keys takes several steps.
  reapDeletes: 1,
};

const prng = new Prng(99);
const inline = prng.bytes(700);
const chunk = prng.bytes(900);
const list = prng.bytes(20_000);
const small = prng.bytes(20);
const streamed = prng.bytes(3000);
const rolling = prng.bytes(9000);

const put = (key: string, value: Uint8Array, space = '') => ({ kind: 'put', space, key, value }) as const;
const calls = (...some: readonly Call[]): Step => ({ kind: 'calls', calls: some });

/** The alphabet, by name. */
export const letters: readonly (readonly [name: string, step: Step])[] = [
  ['inline', calls(put('a', inline))],
  ['chunk', calls(put('b', chunk))],
  ['list', calls(put('c', list))],
  ['again', calls(put('d', list))],
  ['stream', calls({ kind: 'stream', space: '', key: 'e', value: streamed })],
  ['swap', calls({ kind: 'swap', space: '', key: 'a', value: chunk })],
  ['delete', calls({ kind: 'delete', space: '', key: 'b' })],
  [
    'batch',
    calls({
      kind: 'batch',
      space: '',
      changes: [
        { key: 'a', value: inline },
        { key: 'b', value: undefined },
        { key: 'f', value: streamed },
        { key: 'g', value: chunk },
      ],
    }),
  ],
  ['space', calls(put('a', chunk, 'one'))],
  ['space-delete', calls({ kind: 'delete', space: 'one', key: 'a' })],
  ['range', calls({ kind: 'range', space: '', bounds: { prefix: 'c' } }, put('c', inline))],
  ['clear', calls({ kind: 'clear', space: '' })],
  ['drop', calls({ kind: 'drop', space: 'one' })],
  ['flush', { kind: 'flush' }],
  ['reopen', { kind: 'reopen' }],
  ['kill', { kind: 'kill' }],
  ['roll', calls(put('h', rolling))],
  ['group', calls(put('a', chunk), put('i', inline), { kind: 'delete', space: '', key: 'c' })],
  ['twins', calls(put('c', list), put('d', list), { kind: 'stream', space: '', key: 'e', value: list })],
  [
    'merge',
    {
      kind: 'merge',
      calls: [put('a', inline), { kind: 'delete', space: '', key: 'b' }, put('a', small), put('c', chunk)],
    },
  ],
  [
    'transaction',
    calls({
      kind: 'transaction',
      space: '',
      changes: [
        { key: 'a', value: chunk },
        { key: 'c', value: undefined },
        { key: 'g', value: streamed },
      ],
    }),
  ],
  ['update', calls({ kind: 'update', space: '', key: 'a', value: chunk }, put('a', small))],
  [
    'count',
    calls({ kind: 'count', space: '', key: counterKey }, { kind: 'count', space: '', key: counterKey }),
  ],
  ['brief', calls({ kind: 'brief', space: '', key: 'b', value: streamed })],
  ['snapshot', calls({ kind: 'snapshot', space: '', name: 'p' }, put('b', chunk))],
  ['index', calls({ kind: 'index', space: '', name: 'p' }, { ...put('e', chunk), tags: ['x', 'y'] })],
  ['rules', calls({ kind: 'rules', space: '' }, put('a', chunk), put('b', streamed))],
  ['compact', { kind: 'compact', calls: [put('c', inline)] }],
  ['backup', { kind: 'backup', calls: [put('b', chunk), put('j', small)] }],
  ['verify', { kind: 'verify', calls: [put('c', inline), put('k', chunk)] }],
  ['repair', { kind: 'repair' }],
];

/** What the prepared store has been through before the first call. */
export const preparation: readonly Step[] = [
  calls(put('a', chunk), put('b', inline), put('c', list)),
  { kind: 'flush' },
  calls(put('a', streamed, 'one'), { kind: 'delete', space: '', key: 'b' }),
  calls(put('b', streamed)),
];

const perLength = Array.from({ length: lengthMax }, (_, i) => letters.length ** (i + 1));
const perPlace = perLength.reduce((sum, n) => sum + n, 0);

/** Sequences in all: of each length, on two stores, on three disks. */
export const sequenceCount: number = perPlace * 2 * profiles.length;

/** Sequences of one or two calls: they have the first numbers. */
export const shortSequences: number = (perLength[0]! + perLength[1]!) * 2 * profiles.length;

export interface Sequence {
  readonly name: string;
  readonly profile: FsProfile;
  readonly isPrepared: boolean;
  readonly workload: Workload;
}

/** Sequence `n`, 0 up to `sequenceCount`. */
export function sequenceAt(n: number): Sequence {
  const place = n % (2 * profiles.length);
  let rest = Math.floor(n / (2 * profiles.length));
  let length = 1;
  for (const many of perLength) {
    if (rest < many) break;
    rest -= many;
    length++;
  }
  const chosen: (readonly [string, Step])[] = [];
  for (let i = 0; i < length; i++) {
    chosen.push(letters[rest % letters.length]!);
    rest = Math.floor(rest / letters.length);
  }
  const isPrepared = place >= profiles.length;
  const profile = profiles[place % profiles.length]!;
  return {
    name: `${profile}, ${isPrepared ? 'prepared' : 'empty'}, ${chosen.map(([name]) => name).join(' ')}`,
    profile,
    isPrepared,
    workload: { seed: 1, shape: sequenceShape, steps: chosen.map(([, step]) => step) },
  };
}
