/**
 * docs/FORMAT.md: the chapters beside this file in the order of their names, with `{{layout NAME}}`,
 * `{{golden NAME}}`, `{{ladder}}` and `{{example}}` filled in from the code.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { initChecksum } from '../../../src/codec/checksum.ts';
import { formatLadder } from '../../../src/format/format-ladder.ts';
import { setSha256 } from '../../../src/kernels/hash/sha256.ts';
import { nodeSha256 } from '../../../src/kernels/hash/sha256-node.ts';
import { exampleText } from './example.ts';
import { goldens } from './golden.ts';
import { layouts, layoutTable } from './layouts.ts';

const chaptersFolder = 'bench/tools/format-doc';

/** The folder of package.json, from the sources as from dist/. */
export function projectRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder);
  return folder;
}

/** The whole document; the same text every time. Throws when a layout is shown nowhere or not known. */
export async function formatDocument(): Promise<string> {
  await initChecksum();
  setSha256(nodeSha256);
  const folder = join(projectRoot(), chaptersFolder);
  const names = readdirSync(folder).filter((name) => name.endsWith('.md'));
  const prose = names.sort().map((name) => readFileSync(join(folder, name), 'utf8').trimEnd());
  const example = await exampleText();
  const shown = new Set<string>();
  const text = prose.join('\n\n').replaceAll(/\{\{(\w+)(?: (\w+))?\}\}/g, (_all, kind: string, name = '') => {
    if (kind === 'layout') shown.add(name);
    return filled(kind, name, example);
  });
  const missing = Array.from(layouts.keys()).filter((name) => !shown.has(name));
  if (missing.length > 0) throw new Error(`layouts without a place in the document: ${missing.join(', ')}`);
  return `${text}\n`;
}

function filled(kind: string, name: string, example: string): string {
  if (kind === 'example') return example;
  if (kind === 'ladder') return ladder();
  const layout = layouts.get(name);
  if (kind === 'layout' && layout !== undefined) return layoutTable(layout);
  const golden = goldens[name];
  if (kind === 'golden' && golden !== undefined) return golden();
  throw new Error(`nothing is known as {{${kind} ${name}}}`);
}

function ladder(): string {
  const rows = formatLadder.map(
    ({ version, label, summary }) => `| ${label} | 0x${version.toString(16).padStart(4, '0')} | ${summary} |`,
  );
  return ['| Format | Stored as | Holds |', '|---|---|---|', ...rows].join('\n');
}
