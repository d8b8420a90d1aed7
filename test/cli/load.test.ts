import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { expect, test } from 'vitest';
import { commandNames, commandsFor } from '../../src/cli/command-table.ts';
import { resolveRelative, source } from '../tidy/source.ts';

/** What is loaded with a file of the project, at once. */
function loadedWith(first: string): Set<string> {
  const root = fileURLToPath(new URL('../../', import.meta.url));
  const loaded = new Set([first]);
  for (const path of loaded) {
    for (const { kind, specifier } of source(path, readFileSync(root + path, 'utf8')).imports)
      if (kind === 'static' && specifier?.startsWith('.')) loaded.add(resolveRelative(path, specifier));
  }
  return loaded;
}

/** Names of the commands that a program has once these are added. */
async function namesOf(asked: string | undefined): Promise<string[]> {
  const program = new Command();
  const runner = { run: () => Promise.reject(new Error('nothing is run')) };
  for (const add of await commandsFor(asked)) add(program, runner);
  return program.commands.map((command) => command.name());
}

test('the engine is loaded by the command that needs it, not by the program', () => {
  const loaded = loadedWith('src/cli/commands/vault.ts');
  expect(loaded).toContain('src/cli/load.ts');
  expect(loaded).not.toContain('src/index.ts');
  expect(loaded).not.toContain('src/engine/engine.ts');
});

test('the program loads no command before it is asked for', () => {
  const loaded = Array.from(loadedWith('src/cli/main.ts'));
  expect(loaded).toContain('src/cli/command-table.ts');
  expect(loaded.filter((path) => path.startsWith('src/cli/commands/'))).toEqual([]);
});

test('a command is loaded alone, and all of them for anything else', async () => {
  for (const name of commandNames) expect(await namesOf(name)).toEqual([name]);
  for (const name of [undefined, '--help', 'help', 'imprt', 'toString'])
    expect(await namesOf(name)).toEqual(commandNames);
});
