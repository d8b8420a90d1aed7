/** The pure parts of the key-value benches, and that their checks notice a wrong answer. */
import { describe, expect, test } from 'vitest';
import { fillValue, keyBytes, keyOf, numberIn, Values } from '../../bench/tools/kv-data.ts';
import { plotOf } from '../../bench/tools/kv-plot.ts';
import { rows, rowsNamed } from '../../bench/tools/kv-rows.ts';
import { cellsOf, showFigure, tableOf } from '../../bench/tools/kv-table.ts';
import { Latencies } from '../../bench/tools/latencies.ts';

describe('data', () => {
  test('keys are of one length, unlike, and in no order', () => {
    const keys = Array.from({ length: 20_000 }, (_, n) => keyOf(n));
    expect(keys.every((key) => Buffer.byteLength(key) === keyBytes)).toBe(true);
    expect(new Set(keys).size).toBe(keys.length);
    const rising = keys.filter((key, n) => n > 0 && key > keys[n - 1]!).length;
    expect(Math.abs(rising / keys.length - 0.5)).toBeLessThan(0.05);
  });

  test('a value tells its number, and its words are in no other value', () => {
    const words = new Uint32Array(256);
    const seen = new Set<number>();
    for (let n = 0; n < 200; n++) {
      fillValue(words, n);
      expect(numberIn(new Uint8Array(words.buffer))).toBe(n);
      for (const word of words.subarray(1)) seen.add(word);
    }
    expect(seen.size).toBeGreaterThan(200 * 255 - 10);
  });

  test('check passes the right value only', () => {
    const values = new Values(100);
    values.check(values.of(7), 7);
    values.check(values.of(7, 3), 7, 3);
    const flipped = values.of(7);
    flipped[99]! ^= 1;
    expect(() => values.check(flipped, 7)).toThrow('another value');
    expect(() => values.check(values.of(7).subarray(0, 96), 7)).toThrow('another value');
    expect(() => values.check(values.of(7, 1), 7)).toThrow('another value');
    expect(() => values.check(undefined, 7)).toThrow('not there');
  });
});

describe('table', () => {
  const [rate, time] = [rows.find((row) => row.unit === '/s')!, rows.find((row) => row.unit === 'ms')!];
  const systems = ['varve', 'lmdb', 'other'];
  const cells = cellsOf([rate, time], systems, {
    varve: { [rate.name]: [300, 100, 200], [time.name]: [5] },
    lmdb: { [rate.name]: [100], [time.name]: [20] },
    other: { [rate.name]: [400] },
  });

  test('ratios above one are better, for rates and for times', () => {
    expect(cells[0]!.spreads.varve).toEqual({ median: 200, least: 100, most: 300 });
    expect(cells[0]!.ratios).toEqual({ lmdb: 2, other: 0.5 });
    expect(cells[0]!.toBest).toBe(0.5);
    expect(cells[1]!.ratios).toEqual({ lmdb: 4 });
  });

  test('the lines of the table are of one length and name what is missing by a dash', () => {
    const lines = tableOf(cells, systems);
    expect(lines).toHaveLength(4);
    expect(new Set(lines.map((line) => line.length)).size).toBe(1);
    expect(lines[2]).toContain('200 (100 to 300)');
    expect(lines[3]).toContain(' - |');
  });

  test('a row nobody measured is left out', () => {
    expect(cellsOf([rate], systems, { varve: {} })).toEqual([]);
  });

  test.each([
    [0.5, '0.50'],
    [12.34, '12.3'],
    [9994, '9994'],
    [9995, '10.0 k'],
    [123_456, '123 k'],
    [999_499, '999 k'],
    [999_500, '1.00 M'],
  ])('%d is shown as %s', (value, shown) => {
    expect(showFigure(value)).toBe(shown);
  });

  test('the plot has a bar for each figure and escapes its texts', () => {
    const svg = plotOf(cells, systems, 'a < b & c');
    expect(svg.match(/<path /g)).toHaveLength(5);
    expect(svg).toContain('a &lt; b &amp; c');
    expect(svg.endsWith('</svg>\n')).toBe(true);
  });

  test('an unknown row is refused by name', () => {
    expect(rowsNamed([])).toBe(rows);
    expect(rowsNamed(['scan', 'put']).map(({ name }) => name)).toEqual(['scan', 'put']);
    expect(() => rowsNamed(['nothing'])).toThrow('no row is named nothing');
  });
});

describe('latencies', () => {
  test('quantiles are at most one step too high', () => {
    const latencies = new Latencies();
    for (let i = 1; i <= 10_000; i++) latencies.add(i / 10);
    for (const quantile of [0.5, 0.99, 0.999]) {
      const exact = quantile * 1000;
      expect(latencies.quantile(quantile)).toBeGreaterThanOrEqual(exact);
      expect(latencies.quantile(quantile)).toBeLessThan(exact * 1.045);
    }
    expect(latencies.quantile(1)).toBe(1000);
    expect(new Latencies().quantile(0.5)).toBe(0);
  });

  test('the least and the largest times have a place', () => {
    const latencies = new Latencies();
    latencies.add(0);
    latencies.add(1e12);
    expect(latencies.quantile(0.1)).toBeLessThan(0.002);
    expect(latencies.quantile(1)).toBe(1e12);
  });
});
