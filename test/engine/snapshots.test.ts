import { describe, expect, test } from 'vitest';
import { codeOf, failure, keysOf, newStore, openOn, text } from './engine-kit.ts';

describe('snapshots', () => {
  test('a snapshot keeps a state of all spaces, through deletes, merges and a new open', async () => {
    const { engine, disk, clock } = await newStore();
    await engine.put('a', 'one');
    await engine.space('s').put('k', 'old'.repeat(500));
    const made = await engine.snapshots.create('monday', { note: 'before the import' });
    expect(made).toEqual({
      name: 'monday',
      seq: engine.stats().seq,
      time: new Date(clock.now()),
      note: 'before the import',
    });
    await engine.put('a', 'two');
    await engine.delete('a');
    await engine.spaces.drop('s');
    await engine.space('s').put('k', 'new');
    await engine.flush();
    await engine.compact();
    await engine.close();
    const again = await openOn(disk, {}, undefined, clock);
    expect(again.snapshots.list()).toEqual([made]);
    expect(again.snapshots.get('monday')).toEqual(made);
    const at = { snapshot: 'monday' };
    expect(text(await again.get('a', { at }))).toBe('one');
    expect(text(await again.space('s').get('k', { at }))).toBe('old'.repeat(500));
    expect(text(await again.space('s').get('k'))).toBe('new');
    using view = again.view({ snapshot: 'monday' });
    expect([view.seq, text(await view.space('s').get('k'))?.length]).toEqual([made.seq, 1500]);
    expect(await view.space('other').get('k')).toBe(undefined);
    await again.close();
  });

  test('a name is given once', async () => {
    const { engine } = await newStore();
    const both = await Promise.allSettled([engine.snapshots.create('a'), engine.snapshots.create('a')]);
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(await codeOf(engine.snapshots.create('a'))).toBe('VARVE_CONFLICT');
    await engine.snapshots.create('b');
    expect(engine.snapshots.list().map(({ name }) => name)).toEqual(['a', 'b']);
    await engine.snapshots.delete('a');
    await engine.snapshots.create('a');
    expect(engine.snapshots.list().map(({ name }) => name)).toEqual(['b', 'a']);
  });

  test('what is not there is not found, and names are checked', async () => {
    const { engine } = await newStore();
    expect(await codeOf(() => engine.snapshots.get('no'))).toBe('VARVE_NOT_FOUND');
    expect(await codeOf(engine.snapshots.delete('no'))).toBe('VARVE_NOT_FOUND');
    expect(await codeOf(engine.get('k', { at: { snapshot: 'no' } }))).toBe('VARVE_NOT_FOUND');
    expect(await codeOf(() => engine.view({ snapshot: 'no' }))).toBe('VARVE_NOT_FOUND');
    for (const name of ['', 7 as never, 'a\nb', '\ud800', 'n'.repeat(256)]) {
      expect(await codeOf(engine.snapshots.create(name))).toBe('VARVE_INVALID_ARGUMENT');
    }
    expect(await codeOf(engine.snapshots.create('a', { note: 'n'.repeat(16_385) }))).toBe(
      'VARVE_INVALID_ARGUMENT',
    );
    expect(await codeOf(engine.snapshots.create('a', { memo: '' } as object))).toBe('VARVE_INVALID_ARGUMENT');
    await engine.snapshots.create('n'.repeat(255));
  });

  test('a deleted snapshot lets go of what only it kept', async () => {
    const { engine } = await newStore();
    const { seq } = await engine.put('k', 'one');
    await engine.snapshots.create('a');
    await engine.put('k', 'two');
    await engine.flush();
    await engine.compact();
    expect(text(await engine.get('k', { at: { snapshot: 'a' } }))).toBe('one');
    await engine.snapshots.delete('a');
    await engine.flush();
    await engine.compact();
    expect(await codeOf(engine.get('k', { at: seq }))).toBe('VARVE_HISTORY_GONE');
  });

  test('a reader sees the snapshots of its open and makes none', async () => {
    const { engine, disk, clock } = await newStore();
    await engine.put('k', 'one');
    await engine.snapshots.create('a');
    await engine.put('l', 'two');
    const reader = await openOn(disk, { readOnly: true }, undefined, clock);
    expect(reader.snapshots.list().map(({ name }) => name)).toEqual(['a']);
    expect(await keysOf(reader, { at: { snapshot: 'a' } })).toEqual(['k']);
    expect(await codeOf(reader.snapshots.create('b'))).toBe('VARVE_READ_ONLY');
    expect(await codeOf(reader.snapshots.delete('a'))).toBe('VARVE_READ_ONLY');
    await reader.close();
  });

  test('a note is text, and a name that is taken stays so however often one tries', async () => {
    const { engine } = await newStore();
    for (const note of [5, null, ['a']]) {
      expect(await codeOf(engine.snapshots.create('a', { note: note as never }))).toBe(
        'VARVE_INVALID_ARGUMENT',
      );
    }
    expect(engine.snapshots.list()).toEqual([]);
    await engine.snapshots.create('a');
    const error = await failure(engine.snapshots.create('a'));
    expect([error.code, error.retryable]).toEqual(['VARVE_CONFLICT', false]);
  });
});
