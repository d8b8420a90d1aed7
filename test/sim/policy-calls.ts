/** Policies of the store's own keys, checks, and a reader that follows the writer. */
import type { Engine } from '../../src/engine/engine.ts';
import { Follower } from '../../src/engine/leases/follower.ts';
import type { SpaceInfo, SpaceOptions } from '../../src/engine/spaces/space-policy.ts';
import type { Caller } from './caller.ts';
import type { OpOf } from './plan.ts';
import { read } from './read-calls.ts';

const fields = ['history', 'retention', 'quotaBytes'] as const;

/** Sets one policy, or takes it away. */
export async function setPolicy(caller: Caller, { policy }: OpOf<'policy'>): Promise<void> {
  const { engine, world } = caller.life;
  const { marks } = world.oracle;
  const made = fields
    .filter((field) => policy[field] !== undefined)
    .map((field) => {
      const value = policy[field];
      return marks.begin(
        `policy ${field}`,
        value !== null,
        value === null ? undefined : textOf(policy, field),
      );
    });
  const settled = await caller.settle(async () => {
    await engine.setPolicy(policy);
    return true;
  });
  for (const mark of made) marks.end(mark, settled, caller.viewAfter);
  if ('error' in settled) caller.judge(settled.error);
}

/** The policies that are set, as marks. */
export function policiesOf(info: SpaceInfo): (readonly [string, string])[] {
  return fields.flatMap((field) => {
    return info[field] === undefined ? [] : ([[`policy ${field}`, textOf(info, field)]] as const);
  });
}

function textOf(info: SpaceOptions | SpaceInfo, field: (typeof fields)[number]): string {
  return field === 'history' ? `versions ${info.history?.versions ?? 0}` : JSON.stringify(info[field]);
}

/** Nothing may be found but where the disk has lied or refused; a slot of SUPER may be torn. */
export async function verify(caller: Caller, { level }: OpOf<'verify'>): Promise<void> {
  const { life } = caller;
  const report = await caller.read(() => life.engine.verify({ level }));
  if (report === undefined || life.faulted) return;
  const found = report.value.damage.filter(({ file }) => file !== 'SUPER');
  if (found.length > 0) throw new Error(`verify found ${JSON.stringify(found)}`);
  if (report.value.unchecked.length > 0) throw new Error(`not checked: ${report.value.unchecked}`);
}

/** Reads, lets the writer free what nobody needs, reads the same state again, and then a newer one. */
export async function follow(caller: Caller, op: OpOf<'follow'>, number: number): Promise<void> {
  const { life } = caller;
  const viewOf = life.beforeReader();
  const envs = { read: life.env, lease: life.env };
  let follower: Follower | undefined;
  try {
    const opened = await caller.read(async () => {
      follower = await Follower.open(envs, life.options, life.bounds);
      return follower;
    });
    if (opened === undefined) return;
    if (viewOf(opened.value.engine) !== undefined) await readTwice(caller, opened.value, op, number);
    const newerViewOf = life.beforeReader();
    const isNewer = await caller.read(() => opened.value.refresh());
    if (isNewer !== undefined) newerViewOf(opened.value.engine);
  } finally {
    // Also where its life ended meanwhile: it would go on for ever.
    await caller.read(async () => follower?.close());
  }
}

/** The state it follows with stays as it is while the writer frees what it does not need any more. */
async function readTwice(
  caller: Caller,
  follower: Follower,
  { space, keys, compacts }: OpOf<'follow'>,
  number: number,
): Promise<void> {
  const writer = caller.life.engine;
  const some = { kind: 'getMany', space, keys } as const;
  const all = { kind: 'scan', space, scan: {}, entries: Number.MAX_SAFE_INTEGER } as const;
  const over = async (engine: Engine): Promise<void> => {
    if (engine.health().status === 'degraded') return;
    const { seq: view } = engine.stats();
    await read(caller, some, engine, number, view);
    await caller.read(async () => void (await (compacts ? writer.compact() : writer.flush())));
    await read(caller, some, engine, number, view);
    await read(caller, all, engine, number, view);
  };
  await caller.read(() => follower.read(over));
}
