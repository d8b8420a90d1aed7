/** varve stat: what is known of one key. */
import type { Command } from 'commander';
import { encodeUtf8 } from '../../base/bytes.ts';
import type { EntryStat } from '../../index.ts';
import { exitCodes } from '../exit-codes.ts';
import { jsonValue } from '../io.ts';
import { examples, type KeyOptions, withKeyOptions } from '../options.ts';
import { noSuchKey, type Runner, readStore, type Session, spaceOf } from '../session.ts';
import { countText, keyArgument, keyFields, keyText, plainText, sizeText } from '../text.ts';

export function addStat(program: Command, runner: Runner): void {
  const command = program
    .command('stat')
    .description('Show size, digest, times and metadata of a key.')
    .argument('<store>', 'directory of the store')
    .argument('<key>', 'the key')
    .addHelpText('after', examples('varve stat ./data report.pdf', 'varve stat ./data report.pdf --json'));
  withKeyOptions(command).action((store: string, key: string, options: KeyOptions) =>
    runner.run(options, (session) => stat(session, store, key, options)),
  );
}

async function stat(session: Session, store: string, text: string, options: KeyOptions): Promise<number> {
  const key = keyArgument(text, options.hex);
  return await readStore(session, store, async (engine) => {
    const found = await spaceOf(engine, options.space, true).stat(key);
    if (found === undefined) throw noSuchKey(key);
    const bytes = typeof key === 'string' ? encodeUtf8(key) : key;
    if (session.json) await session.out.json({ type: 'stat', ...keyFields(bytes), ...statFields(found) });
    else for (const line of statLines(session, bytes, found)) await session.out.line(line);
    return exitCodes.done;
  });
}

/** An EntryStat in JSON output. */
export function statFields(stat: EntryStat): object {
  const { seq, size, digest, sha256, created, modified, expires, contentType, tags, metadata, chunks } = stat;
  return { seq, size, digest, sha256, created, modified, expires, contentType, tags, metadata, chunks };
}

function statLines(session: Session, key: Uint8Array, stat: EntryStat): string[] {
  const rows: [string, string | undefined][] = [
    ['key', keyText(key)],
    ['size', `${sizeText(stat.size)} (${countText(stat.size)} bytes)`],
    ['chunks', stat.chunks === 0 ? 'inline' : countText(stat.chunks)],
    ['digest', stat.digest],
    ['sha256', stat.sha256],
    ['created', stat.created.toISOString()],
    ['modified', stat.modified.toISOString()],
    ['expires', stat.expires?.toISOString()],
    ['seq', String(stat.seq)],
    ['content type', stat.contentType === undefined ? undefined : plainText(stat.contentType)],
    [
      'tags',
      stat.tags === undefined || stat.tags.length === 0 ? undefined : stat.tags.map(plainText).join(', '),
    ],
    [
      'metadata',
      stat.metadata === undefined ? undefined : plainText(JSON.stringify(stat.metadata, jsonValue)),
    ],
  ];
  return rows
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${session.paint('dim', name.padEnd(13))}${value}`);
}
