/** varve history: what spaces keep, for how long and how much of it; set it, or try it. */
import type { Command } from 'commander';
import { invalid } from '../../base/errors.ts';
import type { Engine, RetentionPlan, RetentionRules, SpaceInfo, SpaceOptions } from '../../index.ts';
import { exitCodes } from '../exit-codes.ts';
import { examples, jsonOption, spaceOption, wholeNumber } from '../options.ts';
import { type Runner, readStore, type Session, spaceOf, writeStore } from '../session.ts';
import { countText, keyFields, keyText, plainText, plural, sizeText } from '../text.ts';

const ruleNames = ['last', 'hourly', 'daily', 'weekly', 'monthly', 'yearly', 'within'] as const;

interface Options extends RetentionRules {
  json?: boolean;
  space?: string;
  versions?: number;
  ms?: number;
  ttl?: number;
  quota?: number;
  reset?: string[];
  dryRun?: boolean;
}

const policyNames = ['history', 'ttl', 'retention', 'quota'] as const;

export function addHistory(program: Command, runner: Runner): void {
  const command = program
    .command('history')
    .description(
      'Show the policies of spaces, or set those of one; with --dry-run tell what they would drop.',
    )
    .argument('<store>', 'directory of the store')
    .option('--versions <n>', 'keep so many superseded versions of each key', wholeNumber)
    .option('--ms <ms>', 'keep every state of the last so many ms', wholeNumber);
  for (const rule of ruleNames) {
    const what =
      rule === 'within' ? 'ms before the newest of them' : rule === 'last' ? 'newest' : `${rule} ones`;
    command.option(`--${rule} <n>`, `retention of superseded versions: ${what}`, wholeNumber);
  }
  command
    .option('--ttl <ms>', 'values put without a time to live expire after so many ms', wholeNumber)
    .option('--quota <bytes>', 'bytes that all values of the space may take', wholeNumber)
    .option('--reset <policies...>', `take policies away: ${policyNames.join(', ')}`)
    .option('--dry-run', 'set nothing, list what would be dropped of superseded versions')
    .addOption(spaceOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      examples(
        'varve history ./data',
        'varve history ./data --space docs --last 3 --daily 14 --monthly 12 --dry-run',
        'varve history ./data --space cache --ttl 3600000 --quota 1000000000 --reset retention',
      ),
    )
    .action((store: string, options: Options) =>
      runner.run(options, (session) => history(session, store, options)),
    );
}

async function history(session: Session, store: string, options: Options): Promise<number> {
  const asked = askedOf(options);
  const isSet = Object.keys(asked).length > 0;
  if (options.dryRun === true) {
    return await readStore(session, store, (engine) => tryOut(session, engine, options.space, asked));
  }
  if (isSet) {
    return await writeStore(session, store, false, async (engine) => {
      await show(session, await spaceOf(engine, options.space, false).setPolicy(asked));
      return exitCodes.done;
    });
  }
  return await readStore(session, store, async (engine) => {
    if (options.space === undefined) await show(session, engine.policy());
    const named = engine.spaces.list({ policies: true });
    const one = options.space === undefined ? named : [spaceOf(engine, options.space, true).policy()];
    for (const info of one) await show(session, info);
    return exitCodes.done;
  });
}

/** The policies that options name. */
function askedOf(options: Options): SpaceOptions {
  const asked: SpaceOptions = {};
  const { versions, ms, ttl, quota, reset = [] } = options;
  for (const policy of reset) {
    if (policy === 'history' || policy === 'retention') asked[policy] = null;
    else if (policy === 'ttl') asked.ttlMs = null;
    else if (policy === 'quota') asked.quotaBytes = null;
    else throw invalid(`no policy ${JSON.stringify(policy)}: there are ${policyNames.join(', ')}`);
  }
  if (versions !== undefined || ms !== undefined) asked.history = { versions: versions ?? 0, ms: ms ?? 0 };
  const retention: RetentionRules = {};
  for (const rule of ruleNames) if (options[rule] !== undefined) retention[rule] = options[rule];
  if (Object.keys(retention).length > 0) asked.retention = retention;
  if (ttl !== undefined) asked.ttlMs = ttl;
  if (quota !== undefined) asked.quotaBytes = quota;
  return asked;
}

async function tryOut(
  session: Session,
  engine: Engine,
  space: string | undefined,
  { history: kept, retention }: SpaceOptions,
): Promise<number> {
  const plan = await spaceOf(engine, space, true).retentionPlan({
    ...(kept === undefined ? {} : { history: kept }),
    ...(retention === undefined ? {} : { retention }),
    signal: session.io.signal,
  });
  if (session.json) {
    const list = plan.list.map(({ key, ...rest }) => ({ ...keyFields(key as Uint8Array), ...rest }));
    await session.out.json({ type: 'retention-plan', space, ...plan, list });
  } else await showPlan(session, plan);
  return exitCodes.done;
}

async function showPlan({ out }: Session, plan: RetentionPlan): Promise<void> {
  const { keys, versions, kept, keptBytes, keptBy, dropped, droppedBytes, list } = plan;
  await out.line(`${plural(versions, 'superseded version')} of ${plural(keys, 'key')}`);
  await out.line(`kept     ${countText(kept)}  ${sizeText(keptBytes)}`);
  for (const [reason, count] of Object.entries(keptBy)) await out.line(`  ${countText(count)}  ${reason}`);
  await out.line(`dropped  ${countText(dropped)}  ${sizeText(droppedBytes)}`);
  for (const { key, seq, time, size } of list) {
    const at = time.toISOString().slice(0, 19);
    await out.line(`  ${String(seq).padStart(10)}  ${at}Z  ${keyText(key as Uint8Array)}  ${sizeText(size)}`);
  }
  if (list.length < dropped) await out.line(`  and ${countText(dropped - list.length)} more`);
}

async function show(session: Session, { name, ...policies }: SpaceInfo): Promise<void> {
  if (session.json) {
    await session.out.json({ type: 'policy', space: name, ...policies });
    return;
  }
  const { history: kept, ttlMs, retention, quotaBytes, usedBytes } = policies;
  const parts: string[] = [];
  if (kept !== undefined) parts.push(`history: ${kept.versions} versions, ${kept.ms} ms`);
  if (retention !== undefined) {
    const rules = Object.entries(retention).map(([rule, count]) => `${rule} ${String(count)}`);
    parts.push(`retention: ${rules.join(', ')}`);
  }
  if (ttlMs !== undefined) parts.push(`values expire after ${ttlMs} ms`);
  if (quotaBytes !== undefined) {
    const used = usedBytes === undefined ? 'not counted yet' : `${sizeText(usedBytes)} used`;
    parts.push(`quota: ${sizeText(quotaBytes)}, ${used}`);
  }
  const title = name === undefined ? "the store's own keys" : plainText(name);
  await session.out.line(`${title}: ${parts.length === 0 ? 'no policies' : parts.join('; ')}`);
}
