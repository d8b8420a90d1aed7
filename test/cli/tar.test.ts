import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { exportTar } from '../../src/cli/tar/export-tar.ts';
import { importTar } from '../../src/cli/tar/import-tar.ts';
import { commentMark, parseEntry } from '../../src/cli/tar/tar-entry.ts';
import { memberHeader, paddingOf } from '../../src/cli/tar/tar-header.ts';
import { keyOfPath, longPathOf, TarPaths } from '../../src/cli/tar/tar-paths.ts';
import { TarReader } from '../../src/cli/tar/tar-reader.ts';
import { pathFault } from '../../src/cli/tree/paths.ts';
import type { Engine, UserMetadata } from '../../src/index.ts';
import { setSha256 } from '../../src/kernels/hash/sha256.ts';
import { nodeSha256 } from '../../src/kernels/hash/sha256-node.ts';
import { bytesOf, failure, newStore, openOn } from '../engine/engine-kit.ts';
import { cli, freshDir } from './kit.ts';

const run = promisify(execFile);

beforeAll(() => setSha256(nodeSha256));

async function archived(engine: Engine, options: Parameters<typeof exportTar>[2] = {}) {
  const pieces: Buffer[] = [];
  const spaces = [undefined, ...engine.spaces.list()].map((name) => ({
    name,
    source: name === undefined ? engine : engine.space(name),
  }));
  const report = await exportTar(spaces, async (bytes) => void pieces.push(Buffer.from(bytes)), options);
  return { report, bytes: new Uint8Array(Buffer.concat(pieces)) };
}

async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.slice(at, at + size);
}

function imported(engine: Engine, bytes: Uint8Array, piece = 4096, now?: () => number) {
  const spaceOf = (name: string | undefined): Engine => (name === undefined ? engine : engine.space(name));
  return importTar(inPieces(bytes, piece), spaceOf, { file: 'a.tar', ...(now === undefined ? {} : { now }) });
}

/** Everything of a store that an archive brings back. */
async function everything(engine: Engine): Promise<Map<string, string>> {
  const all = new Map<string, string>();
  for (const name of [undefined, ...engine.spaces.list()]) {
    const space = name === undefined ? engine : engine.space(name);
    for await (const { key, value, stat } of space.scan<Uint8Array>({ stats: true })) {
      const { contentType, tags, metadata, expires } = stat!;
      const told = JSON.stringify([contentType, tags, metadata, expires]);
      all.set(
        `${name}/${Buffer.from(key).toString('hex')}`,
        `${told} ${Buffer.from(value!).toString('base64')}`,
      );
    }
  }
  return all;
}

const anyKey = fc.oneof(
  fc.uint8Array({ maxLength: 12 }),
  fc
    .array(
      fc.constantFrom('a', 'b', '/', '.', '%', '\\', ' ', '..', 'ä', 'a\u0308', 'CON', '\n', '\ud83d\ude00'),
      { maxLength: 8 },
    )
    .map((parts) => new Uint8Array(Buffer.from(parts.join('')))),
);

describe('paths of an archive', () => {
  test('keys become paths and back, whatever they are', () => {
    fc.assert(
      fc.property(
        fc.array(anyKey, { minLength: 1, maxLength: 30 }),
        fc.constantFrom(undefined, 's', 'a/b', '..'),
        (keys, space) => {
          const sorted = [
            ...new Map(keys.map((key) => [Buffer.from(key).toString('hex'), key])).values(),
          ].sort(Buffer.compare);
          const paths = new TarPaths();
          const given = sorted.map((key) => paths.pathOf(space, key));
          expect(new Set(given).size).toBe(given.length);
          for (const [i, path] of given.entries()) {
            expect(pathFault(Buffer.from(path), 'win32')).toBeUndefined();
            expect(path).not.toMatch(/[\\\n]/);
            expect(given.some((other) => other.startsWith(`${path}/`))).toBe(false);
            const back = keyOfPath(path)!;
            expect(back.space).toBe(space);
            expect(Buffer.compare(back.key, sorted[i]!)).toBe(0);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  test('keys that are too long have a path by their hash', () => {
    const paths = new TarPaths();
    const long = Buffer.alloc(300, 'x');
    const deep = Buffer.from('ab/'.repeat(400));
    expect(paths.pathOf(undefined, deep)).toBe(longPathOf(undefined, deep));
    expect(paths.pathOf('s', long)).toBe(longPathOf('s', long));
    expect(longPathOf('s', long)).toMatch(/^long\/[0-9a-f]{64}$/);
    for (const path of ['other/x', 'keys', 'spaces/s', 'keys/%4', 'keys/%zz', longPathOf('s', long)])
      expect(keyOfPath(path)).toBeUndefined();
  });
});

describe('archives', () => {
  test('a store comes back as it was, however its archive arrives', async () => {
    const entry = fc.record({
      key: anyKey,
      space: fc.constantFrom(undefined, 's', 'ü/x'),
      size: fc.oneof(fc.nat({ max: 2000 }), fc.constantFrom(0, 511, 512, 513, 40_000)),
      metadata: fc.option(
        fc.constantFrom<UserMetadata>({ a: 1 }, { b: [new Uint8Array([1]), new Date(5)], ü: null }),
        { nil: undefined },
      ),
      tags: fc.option(fc.constant(['x', 'y']), { nil: undefined }),
      ttlMs: fc.option(fc.constant(1e12), { nil: undefined }),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(entry, { maxLength: 25 }),
        fc.integer({ min: 1, max: 5000 }),
        async (entries, piece) => {
          const from = await newStore({ keyEncoding: 'bytes' });
          for (const [i, { key, space, size, metadata, tags, ttlMs }] of entries.entries()) {
            const target = space === undefined ? from.engine : from.engine.space(space);
            await target.put(key, bytesOf(i, size), {
              metadata,
              tags,
              ttlMs,
              contentType: i % 2 ? 'text/plain' : undefined,
            });
          }
          const { bytes, report } = await archived(from.engine, { wholeBytesMax: 1000 });
          const before = await everything(from.engine);
          expect(report).toMatchObject({ ok: true, keys: before.size });
          const to = await newStore({ keyEncoding: 'bytes' });
          const now = () => to.clock.now();
          expect(await imported(to.engine, bytes, Math.max(piece, bytes.length / 3000), now)).toMatchObject({
            ok: true,
            keys: before.size,
          });
          expect(await everything(to.engine)).toEqual(before);
          await Promise.all([from.engine.close(), to.engine.close()]);
        },
      ),
      { numRuns: 8 },
    );
  });

  test('large values go through as streams, and what has expired stays out', async () => {
    const { engine, clock } = await newStore({ keyEncoding: 'bytes', workers: 0 });
    await engine.put('large', bytesOf(1, 1_300_000));
    await engine.put('late', 'v', { ttlMs: 1000 });
    const { bytes } = await archived(engine, { wholeBytesMax: 100_000 });
    const to = await newStore({ keyEncoding: 'bytes', workers: 0 });
    const now = () => clock.ms + 2000;
    expect(await imported(to.engine, bytes, 70_000, now)).toMatchObject({
      keys: 1,
      expired: 1,
      bytes: 1_300_001,
    });
    expect(Buffer.compare((await to.engine.get('large'))!, bytesOf(1, 1_300_000))).toBe(0);
  });

  test('a changed byte is refused and not stored, and an archive cut anywhere is refused', async () => {
    const { engine } = await newStore({ keyEncoding: 'bytes' });
    for (const key of ['a', 'b', 'c'])
      await engine.put(key, bytesOf(key.charCodeAt(0), 700), { metadata: { key } });
    const { bytes } = await archived(engine);
    const right = await everything(engine);
    const check = async (changed: Uint8Array): Promise<void> => {
      const to = await newStore({ keyEncoding: 'bytes' });
      const error = await imported(to.engine, changed).then(
        () => undefined,
        (thrown: unknown) => thrown as { code: string; file?: string },
      );
      // Some bits say nothing of what is stored: modes, owners, times, padding.
      if (error !== undefined) expect(error).toMatchObject({ code: 'VARVE_CORRUPT', file: 'a.tar' });
      for (const [key, value] of await everything(to.engine)) expect(right.get(key)).toBe(value);
      if (error === undefined) expect((await everything(to.engine)).size).toBe(right.size);
      await to.engine.close();
    };
    for (let at = 0; at < bytes.length - 1024; at += 211) {
      const changed = bytes.slice();
      changed[at]! ^= 4;
      await check(changed);
    }
    for (const length of [0, 100, 512, 1024, 2000, 4096, bytes.length - 1500, bytes.length - 513]) {
      const to = await newStore();
      expect(await failure(imported(to.engine, bytes.slice(0, length)))).toMatchObject({
        code: 'VARVE_CORRUPT',
      });
    }
  });

  test('hostile members are refused by name', async () => {
    const { engine } = await newStore();
    await engine.put('k', 'v');
    const { bytes } = await archived(engine);
    const first = Buffer.from(bytes.subarray(0, 1024));
    const member = (
      path: string,
      change: (header: Buffer) => void = () => undefined,
      comment?: string,
    ): Uint8Array => {
      const header = Buffer.from(
        memberHeader({ path, size: 4, modifiedMs: 0, ...(comment === undefined ? {} : { comment }) }),
      );
      const block = header.subarray(header.length - 512);
      change(block);
      block.fill(' ', 148, 156);
      block.write(
        block
          .reduce((sum, byte) => sum + byte, 0)
          .toString(8)
          .padStart(6, '0'),
        148,
      );
      return new Uint8Array(
        Buffer.concat([first, header, Buffer.from('evil'), Buffer.alloc(paddingOf(4)), Buffer.alloc(1024)]),
      );
    };
    const typed = (type: string) => (block: Buffer) => void block.write(type, 156);
    const entry = (more: object): string =>
      commentMark + JSON.stringify({ path: 'keys/k', key: 'k', size: 4, sha256: '0'.repeat(64), ...more });
    const cases: [Uint8Array, RegExp][] = [
      [member('../evil'), /"\.\.\/evil" is not safe/],
      [member('/etc/passwd'), /"\/etc\/passwd" is not safe/],
      [member('keys/a', typed('2')), /"keys\/a" is a link/],
      [member('keys/a', typed('1')), /is a hard link/],
      [member('keys/a', typed('3')), /is a device/],
      [member('keys/a', typed('5')), /is a directory/],
      [member('keys/a', typed('6')), /is a pipe/],
      [member('keys/a', typed('L')), /is of type "L"/],
      [member('keys/a', (block) => void block.write('99999999999', 124)), /size that is no octal number/],
      [member('keys/a', (block) => block.writeUInt8(0x80, 124)), /size that is no octal number/],
      [member('keys/k'), /does not say which key it is/],
      [member('keys/k', undefined, commentMark), /no JSON object/],
      [member('keys/k', undefined, entry({ size: 5 })), /says it is another one/],
      [member('keys/k', undefined, entry({ key: 'other' })), /a path that is not the one of its key/],
      [member('keys/k', undefined, entry({ sha256: 'x' })), /no SHA-256/],
      [member('keys/k', undefined, entry({ metadataMsgpack: '!' })), /metadata of the wrong shape/],
      [member('keys/k', undefined, entry({ tags: [1] })), /tags that are no texts/],
      [member('keys/k', undefined, entry({ expires: 'soon' })), /no time/],
      [member('keys/k', undefined, entry({})), /does not have the bytes of its SHA-256/],
      [Buffer.concat([first, Buffer.alloc(1024)]), /no manifest/],
      [
        Buffer.concat([Buffer.from(memberHeader({ path: 'x', size: 0, modifiedMs: 0 })), Buffer.alloc(1024)]),
        /is not where/,
      ],
      [
        Buffer.from('not a tar at all, though it is longer than one block'.repeat(20)),
        /header of a tar member/,
      ],
    ];
    for (const [archive, message] of cases) {
      const to = await newStore();
      const error = await failure(imported(to.engine, new Uint8Array(archive)));
      expect(error.code).toBe('VARVE_CORRUPT');
      expect(error.message).toMatch(message);
      expect((await everything(to.engine)).size).toBe(0);
    }
  });

  test('sizes beyond 8 GiB are written and read', async () => {
    const size = 20 * 2 ** 30;
    const header = memberHeader({ path: 'keys/huge', size, modifiedMs: 1500, comment: 'c' });
    const tar = new TarReader(inPieces(header, 100), 'f');
    expect(await tar.next()).toMatchObject({ path: 'keys/huge', size, comment: 'c' });
    expect(await failure(tar.next())).toMatchObject({ code: 'VARVE_CORRUPT' });
    expect(() => parseEntry('[]', { file: 'f' })).toThrow('no JSON object');
  });

  test('damaged values are left out and listed', async () => {
    const { engine, disk } = await newStore({ inlineMax: 0 });
    for (let i = 0; i < 5; i++) await engine.put(`k${i}`, bytesOf(i, 900));
    await engine.close();
    const damaged = disk.crash('all');
    let hit = false;
    for (const path of await segmentsOf(damaged)) {
      const file = await damaged.open(path, 'rw');
      await file.write(new Uint8Array([1, 2, 3, 4]), 300);
      await file.close();
      hit = true;
    }
    expect(hit).toBe(true);
    const reader = await openOn(damaged, { readOnly: true, keyEncoding: 'bytes', inlineMax: 0 });
    const { report, bytes } = await archived(reader);
    expect(report.ok).toBe(false);
    expect(report.corrupt).toBe(true);
    expect(report.keys + report.failedCount).toBe(5);
    const to = await newStore({ keyEncoding: 'bytes' });
    expect(await imported(to.engine, bytes)).toMatchObject({ keys: report.keys });
    await reader.close();
  });
});

async function segmentsOf(disk: Awaited<ReturnType<typeof newStore>>['disk']): Promise<string[]> {
  const found: string[] = [];
  const walk = async (dir: string): Promise<void> => {
    for (const { name, kind } of await disk.list(dir)) {
      const path = dir === '' ? name : `${dir}/${name}`;
      if (kind === 'directory') await walk(path);
      else if (name.endsWith('.seg')) found.push(path);
    }
  };
  await walk('');
  return found;
}

describe('--tar', () => {
  test('tar and sha256sum read what is exported, and it comes back', async () => {
    const dir = await freshDir();
    const [store, archive, out, again] = ['data', 'data.tar', 'out', 'again'].map((name) =>
      join(dir, name),
    ) as [string, string, string, string];
    await cli(['put', store, 'a', '--meta', 'x=y', '--content-type', 'text/plain'], { stdin: 'first' });
    await cli(['put', store, 'a/b'], { stdin: 'second' });
    await cli(['put', store, '--', '../up\nand "down"'], { stdin: 'third' });
    await cli(['put', store, 'k'.repeat(400)], { stdin: 'long' });
    await cli(['put', store, 'ünder/s'], { stdin: 'space' });
    await cli(['put', store, 'k', '--space', 'sp'], { stdin: 'x'.repeat(100_000) });
    const made = await cli(['export', store, '--tar', archive]);
    expect(made).toMatchObject({ code: 0 });
    expect(made.out).toMatch(/^6 keys \(97\.7 KiB\) written/);
    await mkdir(out);
    const extracted = await run('tar', ['-xf', archive, '-C', out]);
    expect(extracted.stderr).toBe('');
    const sums = await run('sha256sum', ['-c', 'SHA256SUMS'], { cwd: out });
    expect(sums.stdout.match(/: OK$/gm)).toHaveLength(8);
    expect(await readFile(join(out, 'keys/a'), 'utf8')).toBe('first');
    expect(await readFile(join(out, 'keys/a%/b'), 'utf8')).toBe('second');
    const lines = (await readFile(join(out, 'MANIFEST.jsonl'), 'utf8'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines.find(({ key }) => key === 'a')).toMatchObject({
      contentType: 'text/plain',
      metadata: { x: 'y' },
      size: 5,
    });
    expect((await cli(['import', again, '--tar', archive])).out).toMatch(/^6 keys/);
    const listed = async (dir: string): Promise<unknown> =>
      (await cli(['ls', dir, '--long', '--json'])).json().map(({ seq, created, modified, ...rest }) => rest);
    expect(await listed(again)).toEqual(await listed(store));
    expect((await cli(['get', again, 'k', '--space', 'sp'])).out).toBe('x'.repeat(100_000));
  });

  test('through pipes, and what does not go together', async () => {
    const dir = await freshDir();
    const [store, archive] = [join(dir, 'data'), join(dir, 'data.tar')];
    await cli(['put', store, 'p/a'], { stdin: 'first' });
    await cli(['put', store, 'q'], { stdin: 'second' });
    const piped = await cli(['export', store, '--tar', '-', '--prefix', 'p/']);
    expect(piped.code).toBe(0);
    expect(piped.err).toContain('1 key');
    const back = await cli(['import', join(dir, 'b'), '--tar', '-', '--json'], { stdin: piped.stdout });
    expect(back.json()).toMatchObject([{ type: 'import', ok: true, keys: 1, expired: 0 }]);
    expect(
      (await cli(['import', join(dir, 'c'), '--tar', '-'], { stdin: 'nonsense'.repeat(200) })).code,
    ).toBe(4);
    await writeFile(archive, 'mine');
    expect((await cli(['export', store, '--tar', archive])).code).toBe(2);
    expect(await readFile(archive, 'utf8')).toBe('mine');
    const over = await cli(['export', store, '--tar', archive, '--overwrite', '--json']);
    expect(over.json()).toMatchObject([{ type: 'export', ok: true, keys: 2 }]);
    for (const wrong of [
      ['export', store],
      ['export', store, dir, '--tar', archive],
      ['export', store, '--tar', '-', '--json'],
      ['import', store],
      ['import', store, '--tar', archive, '--prefix', 'x'],
    ])
      expect((await cli(wrong)).code).toBe(2);
    expect((await cli(['import', join(dir, 'd'), '--tar', join(dir, 'no.tar')])).code).toBe(3);
  });
});
