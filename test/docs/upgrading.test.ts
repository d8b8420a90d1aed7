/** The table of formats in docs/UPGRADING.md is the ladder of the sources. */
import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { formatLadder } from '../../src/format/format-ladder.ts';

const text = readFileSync(new URL('../../docs/UPGRADING.md', import.meta.url), 'utf8');
const rows = Array.from(text.matchAll(/^\| (\d+\.\d+) \| [^|]+ \| [^|]+ \| ([^|]+) \|$/gm), (row) => ({
  label: row[1],
  summary: row[2],
}));

test('every rung of the ladder is in the table, in order, and no other', () => {
  expect(rows).toEqual(formatLadder.map(({ label, summary }) => ({ label, summary })));
});

test('every major version has a store that is opened for ever', () => {
  const majors = new Set(formatLadder.map(({ version }) => version >> 8));
  for (const major of majors) {
    const fixture = new URL(`../fixtures/formats/v${major}/expected.json`, import.meta.url);
    expect(existsSync(fixture)).toBe(true);
  }
});
