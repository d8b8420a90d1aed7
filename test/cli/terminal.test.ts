import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough, Readable, Writable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { type CliIo, Output } from '../../src/cli/io.ts';
import { runCli } from '../../src/cli/program.ts';
import { bigBytes, cli, freshDir, written } from './kit.ts';

const colour = '\u001b[';

/** Runs a command as if stdout and stderr were terminals. */
async function onTerminal(argv: string[], env: CliIo['env']): Promise<{ out: string; err: string }> {
  const stream = (): PassThrough =>
    Object.assign(new PassThrough({ highWaterMark: 1 << 26 }), {
      isTTY: true,
      columns: 100,
      cursorTo: () => true,
      clearLine: () => true,
      moveCursor: () => true,
    });
  const stdout = stream();
  const stderr = stream();
  const signal = new AbortController().signal;
  expect(await runCli(argv, { stdin: Readable.from([]), stdout, stderr, env, signal })).toBe(0);
  return { out: written(stdout).toString(), err: written(stderr).toString() };
}

describe('terminals', () => {
  test('colours and bars appear on a terminal only, never with NO_COLOR or --json', async () => {
    const dir = await freshDir();
    const store = join(dir, 'store');
    await mkdir(join(dir, 'tree'));
    await writeFile(join(dir, 'tree', 'file'), bigBytes(400_000));
    const shown = await onTerminal(['import', store, join(dir, 'tree')], {});
    expect(shown.err).toMatch(/scan|import/);
    expect((await onTerminal(['import', store, join(dir, 'tree'), '--json'], {})).err).toBe('');
    expect((await cli(['import', store, join(dir, 'tree')])).err).toBe('');
    expect((await onTerminal(['stats', store], {})).out).toContain(colour);
    expect((await onTerminal(['stats', store], { NO_COLOR: '1' })).out).not.toContain(colour);
    expect((await onTerminal(['stats', store], { TERM: 'dumb' })).out).not.toContain(colour);
    expect((await cli(['stats', store])).out).not.toContain(colour);
  });

  test('a listing into a slow reader holds one buffer', async () => {
    let held = 0;
    let most = 0;
    let total = 0;
    const slow = new Writable({
      decodeStrings: false,
      write(chunk: string, _encoding, done) {
        total += chunk.length;
        held = slow.writableLength;
        most = Math.max(most, held);
        setImmediate(done);
      },
    });
    const out = new Output(slow);
    for (let i = 0; i < 50_000; i++) await out.line(`line ${i}`);
    await out.flush();
    expect(total).toBe(50_000 * 5 + 5 * 50_000 - 11_110 + 50_000);
    expect(most).toBeLessThanOrEqual(64 * 1024 + 100);
  });
});
