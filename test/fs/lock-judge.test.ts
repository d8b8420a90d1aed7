import { expect, test } from 'vitest';
import { judgeOwner, type LockFacts, type LockVerdict } from '../../src/fs/lock-judge.ts';
import type { LockOwner } from '../../src/fs/lock-port.ts';

const me = { host: 'h', bootId: 'b', pid: 10, pidNamespace: 'n', processStart: '100' };
const record: LockOwner = {
  ...me,
  pid: 20,
  processStart: '200',
  nonce: 'x',
  providers: ['socket'],
  writerEpoch: 0,
  takenMs: 0,
  touchedMs: 0,
  touches: 0,
  released: false,
};
const withFlock = { providers: ['socket', 'flock'] };
const noBoot = { bootId: '' };

type Row = [string, Partial<LockOwner>, Partial<LockFacts>, LockVerdict];
const dead = { lives: () => false };
const portable = { me: { ...me, ...noBoot, pidNamespace: '' } };
const rows: Row[] = [
  ['released', { released: true, host: 'z', bootId: 'z' }, {}, 'free'],
  ['same namespace, lives', {}, {}, 'alive'],
  ['same namespace, dead', {}, dead, 'stale'],
  ['same namespace, dead, other host name on one kernel', { host: 'z' }, dead, 'stale'],
  ['this process, nonce not held', { pid: 10, processStart: '100' }, {}, 'stale'],
  ['this process, nonce held', { pid: 10, processStart: '100' }, { isOurs: () => true }, 'alive'],
  [
    'nonce held is alive even when flock says otherwise',
    withFlock,
    { isOurs: () => true, flockHeld: true },
    'alive',
  ],
  ['other namespace, looks dead', { pidNamespace: 'm' }, dead, 'unknown'],
  ['no namespace known', { pidNamespace: '' }, { ...dead, me: { ...me, pidNamespace: '' } }, 'unknown'],
  [
    'other namespace, owner had flock, we have it',
    { pidNamespace: 'm', ...withFlock },
    { flockHeld: true },
    'stale',
  ],
  ['other namespace, owner had flock, we do not', { pidNamespace: 'm', ...withFlock }, dead, 'unknown'],
  ['other namespace, owner had none, we have it', { pidNamespace: 'm' }, { flockHeld: true }, 'unknown'],
  ['earlier boot', { bootId: 'a' }, {}, 'stale'],
  ['other host', { bootId: 'a', host: 'z' }, dead, 'unknown'],
  [
    'other host, flock tells nothing',
    { bootId: 'a', host: 'z', ...withFlock },
    { flockHeld: true },
    'unknown',
  ],
  ['boot known on one side only', noBoot, dead, 'unknown'],
  ['no boot ids, dead', noBoot, { ...portable, ...dead }, 'stale'],
  ['no boot ids, pid lives, start unknown', { ...noBoot, processStart: '' }, portable, 'unknown'],
  ['no boot ids, pid lives, start known', noBoot, portable, 'alive'],
  ['no boot ids, guard of the whole host', noBoot, { ...portable, hostGuardHeld: true }, 'stale'],
  ['no boot ids, flock', { ...noBoot, ...withFlock }, { ...portable, flockHeld: true }, 'stale'],
  ['no boot ids, other host', { ...noBoot, host: 'z' }, { ...portable, hostGuardHeld: true }, 'unknown'],
];

test.each(rows)('owner: %s', (_what, owner, facts, verdict) => {
  const known = {
    me,
    flockHeld: false,
    hostGuardHeld: false,
    isOurs: () => false,
    lives: () => true,
    ...facts,
  };
  expect(judgeOwner({ ...record, ...owner }, known)).toBe(verdict);
});

test('no record is free', () => {
  const facts = { me, flockHeld: false, hostGuardHeld: false, isOurs: () => false, lives: () => true };
  expect(judgeOwner(null, facts)).toBe('free');
});
