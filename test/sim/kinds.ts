/** Kinds of calls and of faults, for those who draw them and for the coverage table. */
import { type FaultKind, faultTargets, type OpKind, otherFaults } from './plan.ts';

/** Every kind of call. */
export const opKinds: readonly OpKind[] = [
  'put',
  'putBrief',
  'putAborts',
  'putIf',
  'stream',
  'streamThrows',
  'streamAborts',
  'delete',
  'deleteAborts',
  'deleteIf',
  'batch',
  'batchIf',
  'update',
  'increment',
  'transaction',
  'deleteRange',
  'clear',
  'drop',
  'get',
  'getSync',
  'getAborts',
  'getMany',
  'has',
  'stat',
  'scan',
  'scanStops',
  'scanAborts',
  'read',
  'readCancels',
  'flush',
  'compact',
  'snapshot',
  'snapshotDrop',
  'past',
  'index',
  'indexDrop',
  'query',
  'policy',
  'verify',
  'follow',
  'view',
  'stats',
  'spaces',
  'rival',
  'reader',
];

/** Calls that return at once: nothing can begin, or fail, while they are under way. */
export const instantKinds: ReadonlySet<string> = new Set(['getSync', 'stats', 'spaces']);

/** Only opening makes and renames; a sync that fails has kinds of its own. */
const notInCalls: ReadonlySet<string> = new Set(['sync', 'mkdir', 'rename']);

/** Every kind of fault that can come up while calls are under way. */
export const faultKinds: readonly FaultKind[] = [
  ...faultTargets.filter((target) => !notInCalls.has(target)).map((target): FaultKind => `EIO ${target}`),
  ...otherFaults,
];
