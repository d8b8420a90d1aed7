/** varve verify: checks the files of a store and names the keys that damage affects. */
import { type Command, Option } from 'commander';
import type { Finding, VerifyLevel, VerifyReport } from '../../index.ts';
import { exitCodes } from '../exit-codes.ts';
import { loadVarve } from '../load.ts';
import { examples, jsonOption, wholeNumber } from '../options.ts';
import { timeArgument } from '../point.ts';
import { progressView } from '../progress.ts';
import type { Runner, Session } from '../session.ts';
import { plainText, plural, sizeText } from '../text.ts';

interface VerifyArguments {
  json?: boolean;
  level: VerifyLevel;
  maxSeconds?: number;
  cursor?: string;
  since?: Date;
}

export function addVerify(program: Command, runner: Runner): void {
  program
    .command('verify')
    .description('Check the files of a store and name the keys that damage affects. Writes nothing.')
    .argument('<store>', 'directory of the store')
    .addOption(
      new Option('--level <level>', 'index: tables and log; chunks: and all chunk frames; full: and SHA-256')
        .choices(['index', 'chunks', 'full'])
        .default('chunks'),
    )
    .option('--max-seconds <n>', 'stop after so long, and print where to go on', wholeNumber)
    .option('--cursor <cursor>', 'go on where a check of the same level stopped')
    .option('--since <date>', 'leave out files a scrub has found sound since then', timeArgument)
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Works beside a writer and on damaged stores. Exit code 4 when anything is damaged.
${examples('varve verify ./data', 'varve verify ./data --level full --max-seconds 600')}`,
    )
    .action((store: string, options: VerifyArguments) =>
      runner.run(options, (session) => verify(session, store, options)),
    );
}

async function verify(session: Session, store: string, options: VerifyArguments): Promise<number> {
  const { level, maxSeconds, cursor, since } = options;
  const { openEngine } = await loadVarve();
  const engine = await openEngine(store, { readOnly: true, keyEncoding: 'bytes' });
  const view = await progressView(session.io, session.json);
  let report: VerifyReport;
  try {
    report = await engine.verify({
      level,
      ...(maxSeconds === undefined ? {} : { maxMs: maxSeconds * 1000 }),
      ...(cursor === undefined ? {} : { cursor }),
      ...(since === undefined ? {} : { since }),
      onProgress: (progress) => view.update({ ...progress, files: 0 }),
      signal: session.io.signal,
    });
  } finally {
    view.stop();
    await engine.close();
  }
  if (session.json) await session.out.json({ type: 'verify', ...report });
  else await printVerified(session, report);
  return report.ok ? exitCodes.done : exitCodes.corrupt;
}

/** The report for people. */
export async function printVerified({ out, paint }: Session, report: VerifyReport): Promise<void> {
  const { ok, level, done, cursor, checked, damage, moreDamage = 0, unchecked, ms, bytesPerSecond } = report;
  for (const finding of damage) for (const line of findingLines(finding)) await out.line(line);
  if (moreDamage > 0) await out.line(`and ${plural(moreDamage, 'more damaged place')}`);
  for (const what of unchecked) await out.line(`not checked: ${plainText(what)}`);
  const state = ok
    ? paint('green', 'no damage')
    : paint('red', plural(damage.length + moreDamage, 'damaged place'));
  const { files, bytes, chunks, rows } = checked;
  const amount = [plural(files, 'file'), sizeText(bytes), plural(chunks, 'chunk'), plural(rows, 'row')].join(
    ', ',
  );
  const speed = `in ${(ms / 1000).toFixed(1)} s (${sizeText(bytesPerSecond)}/s)`;
  await out.line(`${state}: ${amount} checked at level ${level} ${speed}`);
  if (!done && cursor !== undefined)
    await out.line(`not finished: go on with --level ${level} --cursor ${cursor}`);
}

const keysShown = 20;

/** A finding for people: the place, then what it affects. */
export function findingLines(finding: Finding): string[] {
  const {
    kind,
    message,
    keys = [],
    moreKeys = 0,
    olderVersions = 0,
    snapshots = [],
    keyRange,
    sequences,
  } = finding;
  const lines = [`${kind.padEnd(10)}  ${plainText(message)}`];
  const add = (text: string): number => lines.push(`${' '.repeat(12)}${text}`);
  for (const key of keys.slice(0, keysShown)) add(`key ${plainText(key)}`);
  const rest = keys.length - Math.min(keys.length, keysShown) + moreKeys;
  if (rest > 0) add(`and ${plural(rest, 'more key')}`);
  if (olderVersions > 0) add(`${plural(olderVersions, 'older version')}`);
  if (snapshots.length > 0) add(`snapshots ${snapshots.map(plainText).join(', ')}`);
  if (keyRange !== undefined)
    add(`keys from ${plainText(keyRange.from)} to ${plainText(keyRange.to)} may be lost`);
  if (sequences !== undefined) add(`commits ${sequences.from} to ${sequences.to ?? 'the end'} are lost`);
  return lines;
}
