/** README.md is run: every example as a program on the built package, every console block in a shell. */
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, onTestFinished, test } from 'vitest';
import { blocksOf, consoleSteps, fencesIn, matchesShown, trimLines } from './markdown.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const readme = readFileSync(join(root, 'README.md'), 'utf8');
const blocks = blocksOf(readme);
const examples = blocks.filter(({ kind }) => kind === 'example');
const run = promisify(execFile);

/** A project that has the package installed; removed when the test ends. */
async function newProject(): Promise<string> {
  if (!existsSync(join(root, 'dist/lib/index.js')))
    throw new Error('examples run what is in dist/: npm run build');
  const dir = await mkdtemp(join(tmpdir(), 'varve-readme-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  await mkdir(join(dir, 'node_modules'));
  await symlink(root, join(dir, 'node_modules/varve'), 'junction');
  return dir;
}

describe('examples', () => {
  test('every block of code is marked, so that it is run', () => {
    expect(examples.map(({ name }) => name)).toEqual([
      'quick-start',
      'backup',
      'time',
      'small-values',
      'chunk-sizes',
    ]);
    expect(fencesIn(readme, ['js', 'ts', 'javascript', 'typescript'])).toBe(examples.length);
  });

  test.each(examples)('$name prints what the README says', async ({ name, text }) => {
    const dir = await newProject();
    await writeFile(join(dir, 'example.mjs'), text);
    const { stdout, stderr } = await run(process.execPath, ['example.mjs'], { cwd: dir, timeout: 25_000 });
    const shown = blocks.find((block) => block.kind === 'output' && block.name === name);
    expect(stderr).toBe('');
    expect(stdout).toBe(shown?.text);
  });

  test('every example fits the declared types', async () => {
    const dir = await newProject();
    await symlink(join(root, 'node_modules/@types'), join(dir, 'node_modules/@types'), 'junction');
    for (const { name, text } of examples) await writeFile(join(dir, `${name}.mjs`), text);
    const flags = '--noEmit --allowJs --checkJs --strict --noImplicitAny false --strictNullChecks false';
    const target =
      '--target es2022 --module nodenext --lib es2023,esnext.disposable --types node --skipLibCheck';
    const files = examples.map(({ name }) => `${name}.mjs`);
    const tsc = join(root, 'node_modules/typescript/bin/tsc');
    const args = [tsc, ...flags.split(' '), ...target.split(' '), ...files];
    const result = await run(process.execPath, args, { cwd: dir }).catch(
      (error: { stdout: string }) => error,
    );
    expect(result.stdout).toBe('');
  });
});

describe('console', () => {
  const sessions = blocks.filter(({ kind }) => kind === 'console');

  test.skipIf(process.platform === 'win32')(
    'every console block is a real run (needs a shell)',
    async () => {
      expect(sessions.length).toBeGreaterThan(0);
      expect(fencesIn(readme, ['console'])).toBe(sessions.length);
      for (const { text } of sessions) {
        const dir = await newProject();
        await makeNotes(dir);
        const env = {
          ...process.env,
          PATH: `${dir}${delimiter}${process.env.PATH}`,
          NO_COLOR: '1',
          COLUMNS: '80',
        };
        for (const { command, output } of consoleSteps(text)) {
          const { stdout, stderr } = await run('/bin/sh', ['-c', `( ${command} ) 2>&1`], { cwd: dir, env });
          const printed = trimLines(stdout + stderr);
          if (!matchesShown(printed, output))
            expect({ command, printed }).toEqual({ command, printed: output });
        }
      }
    },
    60_000,
  );
});

/** The tree the console block works on, and the command under its name. */
async function makeNotes(dir: string): Promise<void> {
  const notes = Array.from(
    { length: 60_000 },
    (_, i) => `Entry ${i}: ${Math.imul(i, 2_654_435_761) >>> 0}\n`,
  );
  await mkdir(join(dir, 'notes/2024'), { recursive: true });
  await writeFile(join(dir, 'notes/todo.txt'), 'Buy milk.\n');
  await writeFile(join(dir, 'notes/2024/journal.txt'), notes.join(''));
  const main = join(root, 'dist/lib/main.js');
  await writeFile(join(dir, 'varve'), `#!/bin/sh\nexec "${process.execPath}" "${main}" "$@"\n`, {
    mode: 0o755,
  });
}

describe('commands', () => {
  test('the two commands at the top are scripts of the package', () => {
    const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    expect(readme).toContain('npm ci && npm start');
    expect(readme).toContain('npm ci && npm test');
    expect(scripts).toHaveProperty('start');
    expect(scripts).toHaveProperty('test');
  });
});
