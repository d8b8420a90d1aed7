/** docs/FORMAT.md says what the code does. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { layouts } from '../../bench/tools/format-doc/layouts.ts';
import { formatDocument, projectRoot } from '../../bench/tools/format-doc/render.ts';
import { opCodes } from '../../src/format/log-ops.ts';

const root = projectRoot();

test('the committed document is the one its generator gives', async () => {
  const made = await formatDocument();
  expect(readFileSync(join(root, 'docs/FORMAT.md'), 'utf8')).toBe(made);
  expect(await formatDocument()).toBe(made);
}, 20_000);

test('every layout of the format is in the document', () => {
  const folder = join(root, 'src/format');
  const defined = readdirSync(folder).flatMap((name) => {
    const text = readFileSync(join(folder, name), 'utf8');
    return Array.from(text.matchAll(/defineLayout\('(\w+)'/g), ([, layout]) => layout!);
  });
  expect([...layouts.keys()].sort()).toEqual(defined.sort());
});

test('the document names every op of the log, written or kept', () => {
  const text = readFileSync(join(root, 'docs/FORMAT.md'), 'utf8');
  const rows = Array.from(text.matchAll(/^\| [A-Z]+ \| (\d+) \| (?:u8 tree|32 bytes|varint|length)/gm));
  const kept = /^Codes ([\d, and]+) are kept/m.exec(text)![1]!.match(/\d+/g)!;
  const codes = [...rows.map(([, code]) => Number(code)), ...kept.map(Number)];
  expect(codes.sort((a, b) => a - b)).toEqual(Object.values(opCodes).sort((a, b) => a - b));
});
