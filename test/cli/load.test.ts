import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { resolveRelative, source } from '../tidy/source.ts';

test('the engine is loaded by the command that needs it, not by the program', () => {
  const root = fileURLToPath(new URL('../../', import.meta.url));
  const loaded = new Set(['src/cli/main.ts']);
  for (const path of loaded) {
    for (const { kind, specifier } of source(path, readFileSync(root + path, 'utf8')).imports)
      if (kind === 'static' && specifier?.startsWith('.')) loaded.add(resolveRelative(path, specifier));
  }
  expect(loaded).toContain('src/cli/commands/vault.ts');
  expect(loaded).not.toContain('src/index.ts');
  expect(loaded).not.toContain('src/engine/engine.ts');
});
