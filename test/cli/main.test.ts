/** The program as users run it: dist/lib/main.js, which `npm test` builds first. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { bigBytes, freshDir } from './kit.ts';

const main = fileURLToPath(new URL('../../dist/lib/main.js', import.meta.url));

interface Ended {
  code: number | null;
  out: Buffer;
  err: string;
}

function start(argv: string[]): { child: ChildProcess; ended: Promise<Ended> } {
  if (!existsSync(main)) throw new Error('build first: npm run build');
  const child = spawn(process.execPath, [main, ...argv], { stdio: ['pipe', 'pipe', 'pipe'] });
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout!.on('data', (data: Buffer) => out.push(data));
  child.stderr!.on('data', (data: Buffer) => err.push(data));
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) =>
      resolve({ code, out: Buffer.concat(out), err: Buffer.concat(err).toString() }),
    );
  });
  return { child, ended };
}

async function run(argv: string[], stdin: Uint8Array | string = ''): Promise<Ended> {
  const { child, ended } = start(argv);
  child.stdin!.on('error', () => child.stdin!.destroy());
  child.stdin!.end(stdin);
  return await ended;
}

describe('the varve program', () => {
  test('binary values pass through pipes unchanged, and exit codes arrive', async () => {
    const store = join(await freshDir(), 'store');
    const bytes = bigBytes(1_000_000);
    expect((await run(['put', store, 'k'], bytes)).code).toBe(0);
    const got = await run(['get', store, 'k']);
    expect(got.out.equals(bytes)).toBe(true);
    expect((await run(['get', store, 'none'])).code).toBe(3);
    expect((await run(['bogus'])).code).toBe(2);
  });

  test('a reader that closes its pipe early ends a command quietly', async () => {
    const store = join(await freshDir(), 'store');
    expect((await run(['put', store, 'k'], bigBytes(4_000_000))).code).toBe(0);
    const { child, ended } = start(['get', store, 'k']);
    child.stdin!.end();
    child.stdout!.once('data', () => child.stdout!.destroy());
    expect(await ended).toMatchObject({ code: 0, err: '' });
  });

  test('SIGINT ends a put that waits for input with 130; the store stays whole', async () => {
    const store = join(await freshDir(), 'store');
    expect((await run(['put', store, 'before'], 'kept')).code).toBe(0);
    const { child, ended } = start(['put', store, 'k']);
    // Large enough to be on its way into the store when the signal comes.
    child.stdin!.on('error', () => child.stdin!.destroy());
    await new Promise<void>((resolve) => child.stdin!.write(bigBytes(2_000_000), () => resolve()));
    child.kill('SIGINT');
    expect(await ended).toMatchObject({ code: 130 });
    expect((await run(['ls', store])).out.toString()).toBe('before\n');
    expect((await run(['put', store, 'k'], 'after')).code).toBe(0);
  });

  test('import and export work on a tree of files', async () => {
    const dir = await freshDir();
    await mkdir(join(dir, 'tree', 'sub'), { recursive: true });
    await writeFile(join(dir, 'tree', 'sub', 'file'), 'content');
    expect((await run(['import', join(dir, 'store'), join(dir, 'tree')])).code).toBe(0);
    expect((await run(['export', join(dir, 'store'), join(dir, 'out')])).code).toBe(0);
    expect(await readFile(join(dir, 'out', 'sub', 'file'), 'utf8')).toBe('content');
  });
});
