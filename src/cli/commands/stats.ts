/** varve stats: figures of a store. */
import Table from 'cli-table3';
import type { Command } from 'commander';
import type { Health, Stats } from '../../index.ts';
import { exitCodes } from '../exit-codes.ts';
import { examples, jsonOption } from '../options.ts';
import { type Runner, readStore, type Session } from '../session.ts';
import { plainTable } from '../table.ts';
import { countText, plainText, plural, sizeText } from '../text.ts';

export function addStats(program: Command, runner: Runner): void {
  program
    .command('stats')
    .description('Show what a store holds and takes on disk.')
    .argument('<store>', 'directory of the store')
    .addOption(jsonOption())
    .addHelpText('after', examples('varve stats ./data', 'varve stats ./data --json'))
    .action((store: string, options: { json?: boolean }) =>
      runner.run(options, (session) => stats(session, store)),
    );
}

async function stats(session: Session, store: string): Promise<number> {
  return await readStore(session, store, async (engine) => {
    const found = engine.stats();
    const health = engine.health();
    const spaces = engine.spaces.list();
    if (session.json) {
      await session.out.json({ type: 'stats', ...found, spaces, health });
      return exitCodes.done;
    }
    const table = new Table(plainTable(session.paint));
    table.push(...rowsOf(found).map(([name, value]) => [session.paint('dim', name), value]));
    if (spaces.length > 0) table.push([session.paint('dim', 'spaces'), spaces.map(plainText).join(', ')]);
    const state = health.ok ? session.paint('green', health.status) : session.paint('red', health.status);
    table.push([session.paint('dim', 'health'), state]);
    for (const line of backupLines(health.backups)) table.push([session.paint('dim', 'last backup'), line]);
    await session.out.line(table.toString());
    return exitCodes.done;
  });
}

/** The last backup into each vault. */
function backupLines(backups: Health['backups']): string[] {
  if (backups.length === 0) return ['never'];
  return backups.map(({ vault, backup, time, proof }) => {
    const proved = proof === undefined ? 'not proved' : `proved ${proof.toISOString()}`;
    return `${time.toISOString()}, ${proved} (${backup.slice(0, 12)} in vault ${vault.slice(0, 12)})`;
  });
}

function rowsOf(stats: Stats): [string, string][] {
  const { disk, segments, tables, chunking, memory } = stats;
  const { algorithm, min, avg, max } = chunking;
  return [
    ['on disk', sizeText(disk.totalBytes)],
    [
      '  chunk data',
      `${sizeText(disk.segmentBytes)} in ${plural(segments.sealed + segments.open, 'segment')}`,
    ],
    [
      '  index',
      `${sizeText(disk.tableBytes)} in ${plural(tables.keys + tables.chunks + tables.system, 'table')}`,
    ],
    ['  log', sizeText(disk.logBytes)],
    ['index entries', `${countText(tables.entries)} (what is still in the log not counted)`],
    ['last commit', `seq ${countText(stats.seq)}`],
    ['chunking', `${algorithm}, ${sizeText(min)} to ${sizeText(max)}, mean ${sizeText(avg)}`],
    ['index in memory', sizeText(memory.tableFilters.used + memory.tableIndexes.used)],
  ];
}
