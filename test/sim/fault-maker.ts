/** Faults and ends of lives of a plan, drawn from its seed. */
import { Prng } from '../../src/base/prng.ts';
import type { Aim } from './aim.ts';
import type { FaultKind, FaultTarget, SimEnd, SimFault } from './plan.ts';

/** All faults of a run of so many calls. */
export function drawEveryFault(prng: Prng, calls: number): SimFault[] {
  return [
    ...drawFaults(prng, calls),
    ...drawFavourite(prng, calls),
    ...drawCuts(prng, calls),
    ...drawStarved(prng),
    ...drawLies(prng, calls),
  ];
}

const lostForms = ['dropped', 'reverted', 'zeroed'] as const;
const paths = ['', 'wal/', 'seg/', 'tab/', 'cat/', 'SUPER'] as const;

/** Each kind of fault is on or off for the run. */
function drawFaults(prng: Prng, calls: number): SimFault[] {
  const faults: SimFault[] = [];
  if (prng.chance(0.25)) return faults;
  const some = (probability: number, most: number, make: () => SimFault): void => {
    if (!prng.chance(probability)) return;
    for (let n = 1 + prng.below(most); n > 0; n--) faults.push(make());
  };
  const at = (scale: number): number =>
    Math.floor(prng.pick([0.05, 0.3, 1]) * prng.below(calls * scale + 20));
  const fail = (target: FaultTarget, errno: string, scale: number, times = 1): SimFault => ({
    target,
    path: prng.pick(paths),
    skip: at(scale),
    times,
    act: { errno },
  });
  some(0.3, 6, () => fail(prng.pick(['read', 'open', 'size', 'stat', 'list'] as const), 'EIO', 3));
  some(0.2, 3, () => fail(prng.pick(['open', 'create'] as const), 'EMFILE', 1, 1 + prng.below(6)));
  some(0.15, 2, () => fail(prng.pick(['open', 'create', 'unlink', 'rename'] as const), 'EACCES', 1));
  some(0.3, 3, () => {
    const act = { errno: 'EIO', written: prng.pick([0, 1, 40, 511, 512, 4096]) };
    return { ...fail('write', 'EIO', 2), act };
  });
  some(0.25, 2, () => {
    const act = { errno: prng.pick(['ENOSPC', 'EDQUOT']), written: prng.below(600) };
    return { ...fail('write', 'ENOSPC', 2, prng.pick([1, 5, 20])), path: '', act };
  });
  some(0.2, 2, () => fail(prng.pick(['create', 'mkdir'] as const), 'ENOSPC', 1, 1 + prng.below(4)));
  some(0.35, 3, () => {
    const act = { errno: 'EIO', lost: prng.pick(lostForms) };
    return { ...fail('sync', 'EIO', 1), act };
  });
  some(0.2, 3, () =>
    fail(prng.pick(['unlink', 'rename', 'mkdir', 'create', 'syncDir'] as const), 'EIO', 0.5),
  );
  some(0.3, 4, () => ({
    ...fail(prng.pick(['read', 'write', 'sync', 'create', 'open', 'unlink', 'syncDir'] as const), '', 2),
    times: 1 + prng.below(10),
    act: { delayMs: prng.pick([1, 50, 30_000]) },
  }));
  some(0.15, 2, () => ({
    ...fail(prng.pick(['read', 'write', 'sync', 'create', 'open', 'unlink', 'syncDir'] as const), '', 2),
    act: { hang: prng.pick(['timeout', 'timeout', 'never'] as const) },
  }));
  return faults;
}

/** How often each operation that calls make comes up for each of them, roughly. */
const rates = {
  open: 3,
  read: 8,
  create: 0.5,
  write: 3,
  sync: 2,
  unlink: 0.1,
  list: 0.3,
  stat: 1,
  size: 2,
  syncDir: 2,
} as const satisfies Partial<Record<FaultTarget, number>>;

/** One kind of fault on one operation, several times over: so that rare ones meet calls of all kinds. */
function drawFavourite(prng: Prng, calls: number): SimFault[] {
  if (prng.chance(0.6)) return [];
  const target = prng.pick(Object.keys(rates) as (keyof typeof rates)[]);
  const act = prng.pick<SimFault['act']>([
    { errno: 'EIO' },
    { errno: 'EIO' },
    { errno: target === 'create' ? 'EMFILE' : 'EIO' },
    { errno: target === 'create' ? 'ENOSPC' : 'EACCES' },
    { delayMs: 50 },
    { hang: 'timeout' },
    { hang: 'never' },
  ]);
  return Array.from({ length: 1 + prng.below(3) }, () => ({
    target,
    path: '',
    skip: prng.below(Math.ceil(calls * rates[target])),
    times: 1 + prng.below(3),
    act: target === 'sync' && 'errno' in act ? { errno: 'EIO', lost: prng.pick(lostForms) } : act,
  }));
}

/** There are few operations of these kinds while a call is made. */
const rareTargets: ReadonlySet<FaultKind> = new Set(['EIO unlink', 'EIO list', 'EIO stat', 'EIO size']);

/** One kind of fault all through the run: some hit whatever there is, others while an aimed call is made. */
export function drawAimed(prng: Prng, calls: number, { fault, calls: aimed }: Aim): SimFault[] {
  const free = Array.from({ length: fault === 'hang for ever' ? 1 : 4 }, (): SimFault => {
    const { target, act } = drawKind(prng, fault);
    const rate = target in rates ? rates[target as keyof typeof rates] : 1;
    const skip = prng.below(Math.ceil(calls * rate * prng.pick([0.1, 0.5, 1])));
    return { target, path: '', skip, times: 1, act };
  });
  const during = aimed.flatMap((call) =>
    [1, 1, rareTargets.has(fault) ? 2 : 20].map((within): SimFault => {
      const { target, act } = drawKind(prng, fault);
      return { target, path: '', skip: prng.below(within), times: 1, during: call, act };
    }),
  );
  return [...free, ...during];
}

function drawKind(prng: Prng, kind: FaultKind): Pick<SimFault, 'target' | 'act'> {
  const some = (): FaultTarget => prng.pick(['read', 'write', 'sync', 'open'] as const);
  switch (kind) {
    case 'delay':
      return { target: some(), act: { delayMs: 50 } };
    case 'hang':
      return { target: some(), act: { hang: 'timeout' } };
    case 'hang for ever':
      return { target: some(), act: { hang: 'never' } };
    case 'sync dropped':
    case 'sync reverted':
    case 'sync zeroed': {
      const lost = lostForms.find((form) => kind === `sync ${form}`)!;
      return { target: 'sync', act: { errno: 'EIO', lost } };
    }
    case 'ENOSPC':
    case 'EDQUOT':
      return { target: 'write', act: { errno: kind, written: prng.below(600) } };
    case 'EMFILE':
    case 'EACCES':
      return { target: prng.pick(['open', 'open', 'create'] as const), act: { errno: kind } };
    case 'rot':
    case 'short':
    case 'stale':
    case 'misdirected':
      return { target: 'read', act: { lie: kind, at: prng.u32() } };
    default:
      return { target: kind.slice('EIO '.length) as FaultTarget, act: { errno: 'EIO' } };
  }
}

/** A sync that fails, and a power cut a few calls later: what was acknowledged in between must be there. */
function drawCuts(prng: Prng, calls: number): SimFault[] {
  if (prng.chance(0.65)) return [];
  return Array.from({ length: 1 + prng.below(3) }, () => {
    const path = prng.pick(['wal/', 'wal/', 'seg/', 'seg/', '']);
    return {
      target: 'sync',
      path,
      skip: prng.below(path === 'seg/' ? Math.ceil(calls / 4) : calls),
      times: 1,
      act: { errno: 'EIO', lost: prng.pick(lostForms) },
      cut: { calls: prng.below(prng.pick([1, 4, 12])), steps: prng.below(20), seed: prng.u32() },
    };
  });
}

/** Whoever opens, a reader too, stands still between SUPER and the files it names, while others go on. */
function drawStarved(prng: Prng): SimFault[] {
  if (prng.chance(0.8)) return [];
  return Array.from({ length: 1 + prng.below(4) }, () => ({
    target: prng.pick(['open', 'read'] as const),
    path: prng.pick(['cat/', 'cat/', 'tab/', 'wal/']),
    skip: prng.below(40),
    times: 1 + prng.below(2),
    act: { delayMs: prng.pick([20, 200, 30_000]) },
  }));
}

const lieForms = ['rot', 'short', 'stale', 'misdirected'] as const;

/** Reads that answer with other bytes than the file has. */
function drawLies(prng: Prng, calls: number): SimFault[] {
  if (prng.chance(0.75)) return [];
  return Array.from({ length: 1 + prng.below(6) }, () => ({
    target: 'read',
    path: prng.pick(['tab/', 'seg/', '']),
    skip: prng.below(prng.pick([20, calls, 4 * calls])),
    times: 1 + prng.below(3),
    act: { lie: prng.pick(lieForms), at: prng.u32() },
  }));
}

/** When and how lives end. */
export function drawEnds(prng: Prng, calls: number): SimEnd[] {
  const kinds = (['power', 'power', 'kill', 'close'] as const).filter(() => prng.chance(0.75));
  if (kinds.length === 0) return [];
  const count = prng.pick([2, 3, 3, 4, 4, 4, 6, 10]);
  const ends: SimEnd[] = [];
  for (let i = 0; i < count; i++) {
    // One in six comes while the store is being opened, or right after.
    const inOpen = prng.chance(0.17);
    ends.push({
      kind: inOpen ? prng.pick(['power', 'kill', 'power', 'kill', 'close'] as const) : prng.pick(kinds),
      calls: inOpen ? 0 : 1 + prng.below(Math.max(2, Math.floor((2 * calls) / (count + 1)))),
      steps: prng.below(prng.pick([2, 12, 60])),
      seed: prng.u32(),
    });
  }
  return ends;
}

/** In half of the runs a third of the lives is followed by a repair: drawn apart from all other choices. */
export function withRepairs(seed: number, ends: readonly SimEnd[]): SimEnd[] {
  const prng = new Prng(seed ^ 0x4e9a);
  const share = prng.chance(0.5) ? 1 / 3 : 0;
  return ends.map((end) => {
    if (!prng.chance(share)) return end;
    return { ...end, repair: { damage: prng.pick(['none', 'slot', 'newest'] as const) } };
  });
}
