/**
 * Removes build output: `node bench/tools/clean.mjs dist`.
 *
 * Only names from the list below are accepted, so that a slip in a script cannot remove sources.
 */
import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = new URL('../../', import.meta.url);
const removable = new Set(['dist', 'coverage']);

const names = process.argv.slice(2);
if (names.length === 0) throw new Error(`name what to remove: ${[...removable].join(', ')}`);
for (const name of names) {
  if (!removable.has(name)) throw new Error(`refusing to remove "${name}": not build output`);
  rmSync(fileURLToPath(new URL(name, root)), { recursive: true, force: true });
}
