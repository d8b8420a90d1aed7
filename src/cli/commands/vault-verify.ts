/** varve vault verify: whether a vault is whole. */
import { type Command, InvalidArgumentError } from 'commander';
import type { VaultDamage, VerifyVaultOptions, VerifyVaultReport } from '../../index.ts';
import { exitCodes } from '../exit-codes.ts';
import { loadVarve } from '../load.ts';
import { examples, jsonOption, wholeNumber } from '../options.ts';
import { progressView } from '../progress.ts';
import type { Runner, Session } from '../session.ts';
import { plainText, plural, sizeText } from '../text.ts';

interface Options {
  json?: boolean;
  level: number;
  subset?: { part: number; of: number };
  rotate?: number;
  testKeys?: number;
  store?: string;
  maxSeconds?: number;
}

export function addVaultVerify(parent: Command, runner: Runner): void {
  parent
    .command('verify')
    .description('Prove a vault: what is damaged is named with the keys and backups it concerns.')
    .argument('<vault>', 'directory of the vault')
    .option('--level <n>', '0 trees, 1 packs are there, 2 their trailers, 3 every byte', wholeNumber, 3)
    .option('--subset <k/n>', 'levels 2 and 3: the k-th of n parts of the packs', subsetArgument)
    .option('--rotate <n>', 'levels 2 and 3: the next of n parts; the vault remembers which', wholeNumber)
    .option('--test-keys <n>', 'also read the whole values of n keys, chosen by chance', wholeNumber)
    .option('--store <dir>', 'also ask this store which backups the vault must have')
    .option('--max-seconds <n>', 'end after about so long', wholeNumber)
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Nothing is written, but for how far a rotation has come. Exit code 4 when something is damaged or missing.
${examples(
  'varve vault verify /mnt/vault',
  'varve vault verify /mnt/vault --rotate 7 --max-seconds 3600 --test-keys 20 --store ./data',
)}`,
    )
    .action((dir: string, options: Options) =>
      runner.run(options, async (session) => {
        const report = await verify(session, dir, options);
        if (session.json) await session.out.json({ type: 'verify', ...report });
        else await print(session, report);
        return report.ok ? exitCodes.done : exitCodes.corrupt;
      }),
    );
}

async function verify(session: Session, dir: string, options: Options): Promise<VerifyVaultReport> {
  const { openVault } = await loadVarve();
  const { level, subset, rotate, testKeys, store, maxSeconds } = options;
  const vault = await openVault(dir, { readOnly: rotate === undefined });
  const expect = store === undefined ? undefined : await knownBackups(store, vault.id);
  const view = await progressView(session.io, session.json);
  try {
    return await vault.verify({
      level: level as NonNullable<VerifyVaultOptions['level']>,
      ...(subset === undefined ? {} : { subset }),
      ...(rotate === undefined ? {} : { rotate }),
      ...(testKeys === undefined ? {} : { testKeys }),
      ...(expect === undefined ? {} : { expect }),
      ...(maxSeconds === undefined ? {} : { maxMs: maxSeconds * 1000 }),
      signal: session.io.signal,
      onProgress: ({ phase, done, total, bytesPerSecond }) =>
        view.update({ phase, done, total, unit: 'files', bytesPerSecond, files: done }),
    });
  } finally {
    view.stop();
  }
}

/** What the store knows of its backups into the vault. */
async function knownBackups(
  store: string,
  vault: string,
): Promise<NonNullable<VerifyVaultOptions['expect']>> {
  const { openEngine } = await loadVarve();
  const engine = await openEngine(store, { readOnly: true });
  try {
    return engine.health().backups.filter((known) => known.vault === vault);
  } finally {
    await engine.close();
  }
}

async function print(session: Session, report: VerifyVaultReport): Promise<void> {
  for (const damage of report.damage) await session.out.line(damageText(damage));
  const { ok, level, backups, packs, bytes, testedKeys, complete, coveredSince } = report;
  const state = ok ? session.paint('green', 'whole') : session.paint('red', 'damaged');
  const parts = [
    `${state}: level ${level}`,
    plural(backups, 'backup'),
    `${plural(packs, 'pack')} (${sizeText(bytes)}) read`,
    ...(testedKeys === 0 ? [] : [`${plural(testedKeys, 'key')} read whole`]),
    ...(complete ? [] : ['ended early']),
    ...(coveredSince === undefined ? [] : [`all packs of ${coveredSince.toISOString()} looked at since`]),
  ];
  await session.out.line(parts.join(', '));
}

function damageText({ message, keys, keyCount, snapshots }: VaultDamage): string {
  const concerned = [
    ...(keyCount === undefined
      ? []
      : [`${plural(keyCount, 'key')} (${(keys ?? []).slice(0, 5).join(', ')})`]),
    ...(snapshots === undefined ? [] : [`backups ${snapshots.map((id) => id.slice(0, 12)).join(', ')}`]),
  ];
  const tail = concerned.length === 0 ? '' : `\n  concerns ${plainText(concerned.join('; '))}`;
  return `${plainText(message)}${tail}`;
}

/** `2/7`. */
function subsetArgument(text: string): { part: number; of: number } {
  const match = /^(\d+)\/(\d+)$/.exec(text);
  if (match === null) throw new InvalidArgumentError('It must be K/N, such as 2/7.');
  return { part: Number(match[1]), of: Number(match[2]) };
}
