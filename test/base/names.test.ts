import { expect, test } from 'vitest';
import { VarveError } from '../../src/base/errors.ts';
import { checkFlags, checkFunctions, checkNames } from '../../src/base/names.ts';

const refused = (message: string) => new VarveError('VARVE_INVALID_ARGUMENT', message);

test('options that are no object, or have a name that is not known, are refused', () => {
  for (const given of [null, [], 5, 'text'] as unknown as object[])
    expect(() => checkNames(given, ['limit'], 'scan option')).toThrow(
      refused('scan options must be an object'),
    );
  expect(() => checkNames({ limits: 1 }, ['limit', 'signal'], 'scan option')).toThrow(
    refused('unknown scan option "limits"; known: limit, signal'),
  );
  checkNames({ limit: undefined }, ['limit'], 'scan option');
});

test('a signal that would never abort anything is refused, one that was left out is not', () => {
  for (const signal of [null, 5, 'now', {}, { aborted: false }, new AbortController()])
    expect(() => checkNames({ signal }, ['signal'], 'option')).toThrow(
      refused('signal must be an AbortSignal'),
    );
  checkNames({ signal: new AbortController().signal }, ['signal'], 'option');
  checkNames({ signal: AbortSignal.abort() }, ['signal'], 'option');
  checkNames({ signal: undefined }, ['signal'], 'option');
});

test('flags are true or false, functions are functions', () => {
  const given = { dryRun: 'yes', onProgress: 5 } as unknown as { dryRun?: boolean; onProgress?: () => void };
  expect(() => checkFlags(given, ['dryRun'])).toThrow(refused('dryRun must be true or false'));
  expect(() => checkFunctions(given, ['onProgress'])).toThrow(refused('onProgress must be a function'));
  checkFlags<typeof given>({ dryRun: false }, ['dryRun']);
  checkFunctions<typeof given>({}, ['onProgress']);
});
