import { expect, test } from 'vitest';
import { openOn } from '../crash/machine.ts';
import { buildStore } from '../damage/stores.ts';

/**
 * A store that was killed has its open segment moved at the next open, and every chunk in it is looked up.
 * One flipped bit in a block of the chunk table made that lookup, and with it the open, fail.
 */
test('a damaged block of the chunk table does not keep a killed store from opening', async () => {
  const { disk, shape, more } = await buildStore('killed', 1);
  const tables = disk.files().filter((path) => path.endsWith('.tab') && disk.bytesOf(path)[11] === 2);
  const table = tables.at(-1)!;
  disk.flipBit(table, 8 * (4096 + 100));
  const engine = await openOn(disk, shape, 2, more);
  const { status, damage } = engine.health();
  expect(status).toBe('degraded');
  expect(damage.map(({ file, offset }) => [file, offset])).toContainEqual([table, 4096]);
  expect(await engine.get('old/2')).toEqual(new TextEncoder().encode('written again'));
  await expect(engine.put('new', 'x')).rejects.toMatchObject({ code: 'VARVE_READ_ONLY' });
  await engine.close();
});
