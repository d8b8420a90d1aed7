/** docs/BACKUP.md is run: every console block in a shell, in a directory of its own. */
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { blocksOf, consoleSteps, fencesIn, matchesShown, trimLines } from './markdown.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const guide = readFileSync(join(root, 'docs/BACKUP.md'), 'utf8');
const blocks = blocksOf(guide).filter(({ kind }) => kind === 'console');
const run = promisify(execFile);

/** What the guide says is there in the beginning, and the command under its name. */
async function makeStage(): Promise<string> {
  const main = join(root, 'dist/lib/main.js');
  if (!existsSync(main)) throw new Error('commands run what is in dist/: npm run build');
  const dir = await mkdtemp(join(tmpdir(), 'varve-drill-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  await mkdir(join(dir, 'tree/letters'), { recursive: true });
  await writeFile(join(dir, 'tree/letters/first.txt'), 'Dear reader,\n');
  await writeFile(join(dir, 'tree/photo.raw'), new Prng(1).bytes(300_000));
  await writeFile(join(dir, 'note.txt'), 'second thoughts\n');
  const script = `#!/bin/sh\nexec "${process.execPath}" "${main}" "$@"\n`;
  await writeFile(join(dir, 'varve'), script, { mode: 0o755 });
  return dir;
}

test('every console block is marked, so that it is run', () => {
  expect(blocks.map(({ name }) => name)).toEqual(['schedule', 'drill', 'leave']);
  expect(fencesIn(guide, ['console'])).toBe(blocks.length);
});

test.skipIf(process.platform === 'win32').each(blocks)(
  '$name does what the guide shows',
  async ({ text }) => {
    const dir = await makeStage();
    const env = { ...process.env, PATH: `${dir}${delimiter}${process.env.PATH}`, TZ: 'UTC', NO_COLOR: '1' };
    for (const { command, output } of consoleSteps(text)) {
      const { stdout } = await run('/bin/sh', ['-c', `( ${command} ) 2>&1`], { cwd: dir, env });
      const printed = trimLines(stdout);
      if (!matchesShown(printed, output)) expect({ command, printed }).toEqual({ command, printed: output });
    }
  },
  120_000,
);
