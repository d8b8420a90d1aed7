import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { type TuneReport, type TuneSource, tune } from '../../src/index.ts';
import { chunkAll, createChunker } from '../../src/kernels/chunker/chunker.ts';
import { solveParams } from '../../src/kernels/chunker/params.ts';
import { sha256Hex } from '../../src/kernels/hash/sha256.ts';
import { edited } from '../../src/tune/edits.ts';
import { recommend } from '../../src/tune/recommend.ts';
import { reportHtml } from '../../src/tune/report-html.ts';

const dirs: string[] = [];
afterAll(() => {
  for (const dir of dirs) rmSync(dir, { recursive: true, force: true });
});

function newDir(): string {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'varve-tune-'));
  dirs.push(dir);
  return dir;
}

async function* sourcesOf(...streams: Uint8Array[]): AsyncGenerator<TuneSource> {
  for (const [version, bytes] of streams.entries()) {
    async function* pieces(): AsyncGenerator<Uint8Array> {
      for (let at = 0; at < bytes.length; at += 70_001) yield bytes.subarray(at, at + 70_001);
    }
    yield { name: `stream ${version}`, data: pieces(), version };
  }
}

const first = new Prng(1).bytes(900_000);
const second = edited(first, 5, 100, 3);

describe('what is measured', () => {
  test.each(['fastcdc', 'sieve'] as const)(
    '%s: figures equal those of cutting everything by hand',
    async (algorithm) => {
      const report = await tune(sourcesOf(first, second), { sizes: [4096, 16_384], algorithms: [algorithm] });
      expect(report).toMatchObject({
        files: 2,
        logicalBytes: first.length + second.length,
        versions: 2,
        sampled: 1,
      });
      for (const one of report.results) {
        const { min, avg, max } = one;
        const chunker = createChunker(solveParams({ algorithm, min, avg, max }));
        const unique = new Map<string, number>();
        let chunks = 0;
        const stored: number[] = [];
        for (const bytes of [first, second]) {
          let from = 0;
          for (const end of chunkAll(chunker, bytes)) {
            unique.set(sha256Hex(bytes.subarray(from, end)), end - from);
            from = end;
            chunks++;
          }
          const uniqueBytes = Array.from(unique.values()).reduce((sum, length) => sum + length, 0);
          stored.push(uniqueBytes + unique.size * (64 + 4 + 48 + 56) + chunks * 40);
        }
        chunker.release();
        expect(one).toMatchObject({ chunks, uniqueChunks: unique.size, storedBytes: stored[1] });
        expect(one.afterVersion.map(({ storedBytes }) => storedBytes)).toEqual(stored);
        expect(one.histogram.reduce((sum, bucket) => sum + bucket.chunks, 0)).toBe(chunks);
        expect(one.storedBytes - one.overheadBytes).toBe(one.uniqueBytes);
        // Random bytes do not become smaller, and are then kept as they are.
        for (const { bytes } of one.compressed) expect(bytes).toBe(one.uniqueBytes);
        expect(one.bytesPerEdit).toBeGreaterThan(avg / 4);
        expect(one.bytesPerEdit).toBeLessThan(4 * max);
      }
    },
  );

  test('bytes that compress are compressed, and the same seed gives the same figures', async () => {
    const text = new TextEncoder().encode(
      Array.from({ length: 20_000 }, (_, i) => `line ${i % 977}\n`).join(''),
    );
    const options = { sizes: [8192], edits: { count: 8, bytes: 10 }, seed: 5 };
    const [one, two] = [await tune(sourcesOf(text), options), await tune(sourcesOf(text), options)];
    for (const { compressed, uniqueBytes } of one.results) {
      expect(compressed.length).toBeGreaterThanOrEqual(2);
      for (const { bytes } of compressed) expect(bytes).toBeLessThan(uniqueBytes / 2);
    }
    const plain = ({ results }: TuneReport) =>
      results.map((each) => ({ ...each, chunkRate: 0, hashedRate: 0 }));
    expect(plain(one)).toEqual(plain(two));
    const phases = new Set<string>();
    const none = await tune(sourcesOf(text), {
      ...options,
      compress: false,
      onProgress: ({ phase }) => phases.add(phase),
    });
    expect(none.results[0]!.compressed).toEqual([]);
    expect(Array.from(phases)).toEqual(['read', 'edit', 'time']);
  });

  test('edits insert, overwrite and remove, and keep the rest', () => {
    const bytes = new Prng(2).bytes(30_000);
    const changed = edited(bytes, 9, 20, 1);
    // Three of nine are insertions, three removals.
    expect(changed.length).toBe(bytes.length);
    expect(Buffer.compare(changed, bytes)).not.toBe(0);
    expect(Buffer.compare(edited(bytes, 9, 20, 1), changed)).toBe(0);
  });
});

describe('paths', () => {
  test('trees are walked, links left out, and samples take the same files of each version', async () => {
    const root = newDir();
    for (const version of ['one', 'two']) {
      mkdirSync(path.join(root, version, 'deep'), { recursive: true });
      for (let n = 0; n < 20; n++)
        writeFileSync(
          path.join(root, version, n % 2 === 0 ? 'deep' : '', `file <${n}> "&`),
          new Prng(n).bytes(5000),
        );
    }
    const paths = [path.join(root, 'one'), path.join(root, 'two')];
    const whole = await tune(paths, { sizes: [4096], versions: true });
    expect(whole).toMatchObject({ files: 40, logicalBytes: 200_000, versions: 2, sampled: 1 });
    for (const { dedupRatio } of whole.results) expect(dedupRatio).toBe(2);
    const part = await tune(paths, { sizes: [4096], versions: true, sampleBytes: 25_000 });
    expect(part).toMatchObject({ logicalBytes: 50_000, sampled: 0.25 });
    for (const { dedupRatio } of part.results) expect(dedupRatio).toBe(2);
    const single = await tune([path.join(root, 'one', 'file <1> "&')], { sizes: [4096] });
    expect(single).toMatchObject({ files: 1, logicalBytes: 5000 });
  });

  test('what cannot be measured is refused by name', async () => {
    const root = newDir();
    await expect(tune([path.join(root, 'missing')])).rejects.toMatchObject({ code: 'VARVE_NOT_FOUND' });
    await expect(tune([root])).rejects.toThrow(/nothing to measure/);
    await expect(tune([])).rejects.toMatchObject({ code: 'VARVE_INVALID_ARGUMENT' });
    await expect(tune([root], { size: [4096] } as object)).rejects.toThrow(/unknown tune option "size"/);
    await expect(tune(sourcesOf(first), { sizes: [100] })).rejects.toMatchObject({
      code: 'VARVE_INVALID_ARGUMENT',
    });
    await expect(tune(sourcesOf(first), { sizes: [] })).rejects.toMatchObject({
      code: 'VARVE_INVALID_ARGUMENT',
    });
    await expect(tune(sourcesOf(first), { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'VARVE_ABORTED',
    });
  });
});

describe('what is recommended', () => {
  test('the largest chunks that store little more than the best, and of equals the faster', async () => {
    const { results } = await tune(sourcesOf(first), { sizes: [4096], compress: false });
    const base = { ...results[0]!, algorithm: 'fastcdc' as const };
    const way = (
      avg: number,
      storedBytes: number,
      hashedRate: number,
      algorithm = base.algorithm as 'fastcdc' | 'sieve',
    ) => ({
      ...base,
      avg,
      storedBytes,
      hashedRate,
      algorithm,
    });
    const ways = [
      way(4096, 1000, 5),
      way(16_384, 1029, 5),
      way(16_384, 1031, 9, 'sieve'),
      way(65_536, 1100, 9),
    ];
    expect(recommend(ways)).toMatchObject({ avg: 16_384, algorithm: 'fastcdc' });
    ways[2] = way(16_384, 1025, 9, 'sieve');
    expect(recommend(ways)).toMatchObject({ avg: 16_384, algorithm: 'sieve' });
    expect(recommend(ways).option).toContain("algorithm: 'sieve'");
  });
});

describe('the page', () => {
  test('it loads nothing, and names cannot get out of their place', async () => {
    const report = await tune(sourcesOf(first, second), { sizes: [4096, 65_536] });
    const html = reportHtml(report, '</title><script>alert(1)</script>\u0007');
    expect(html).not.toMatch(/<script|https?:|@import|url\(|src=/);
    const opened = html.match(/<(figure|svg|table|div|tr|td|th|figcaption)\b/g)!.length;
    expect(html.match(/<\/(figure|svg|table|div|tr|td|th|figcaption)>/g)).toHaveLength(opened);
    expect(html.match(/<svg/g)).toHaveLength(6);
    // Lines are not filled, whatever colours their series have.
    expect(html).toContain('polyline.line { fill: none;');
    expect(html).not.toMatch(/NaN|undefined|Infinity/);
    expect(html).toContain(report.recommended.option.replaceAll("'", '&#39;'));
  });
});
