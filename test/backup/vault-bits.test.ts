/**
 * Every object of a small vault, changed bit by bit: a verify finds each change, names the object, and says
 * which keys and backups a changed chunk concerns. A sample here; two bits of every byte, or all eight:
 *
 *   VARVE_BITS=2 npx vitest run test/backup/vault-bits.test.ts
 */
import { describe, expect, test } from 'vitest';
import { MemoryBlobs } from '../../src/backup/memory-blobs.ts';
import { packPrefix } from '../../src/format/vault-names.ts';
import { bytesOf, newStore, openOn } from '../engine/engine-kit.ts';
import { vaultOn } from './backup-kit.ts';

/** Bits of each byte; without the variable one bit of every so-manieth byte. */
const bits = Number(process.env.VARVE_BITS ?? 0);
const step = bits > 0 ? 1 : 97;

/** A vault with an object of every kind. */
async function smallVault() {
  const { engine, clock, disk } = await newStore();
  const blobs = new MemoryBlobs();
  const vault = await vaultOn(blobs, clock);
  await engine.put('inline', 'a value');
  await engine.put('gone', bytesOf(1, 300));
  await engine.backup(vault, { label: 'first' });
  await engine.delete('gone');
  await engine.put('chunks', bytesOf(2, 900));
  await engine.backup(vault, { tags: ['t'] });
  await clock.advance(5);
  await engine.put('inline', 'another');
  await engine.archive(vault);
  await engine.schedules.set('s', { cron: '@hourly', vault: 'v', verify: { parts: 2 } });
  await engine.flush();
  await clock.advance(3_600_000);
  // A reader leaves a note of its run, and the turn of verifies.
  const reader = await openOn(disk, { readOnly: true }, undefined, clock);
  await reader.schedules.run({ once: true, openVault: async () => vault });
  await reader.close();
  await vault.forget({ keep: { last: 1 } });
  await vault.prune({ graceMs: 1e12 });
  return { vault, blobs };
}

describe('a bit changed in any object of a vault', () => {
  test('is found, and attributed', async () => {
    const { vault, blobs } = await smallVault();
    expect((await vault.verify()).damage).toEqual([]);
    const names = blobs.names();
    const kinds = new Set(names.map((name) => name.split('/')[0]));
    const wanted = ['VAULT', 'idx', 'noted', 'packs', 'pending-delete', 'snaps', 'verified', 'wal'];
    expect([...kinds].sort()).toEqual(wanted);
    const tally = { objects: names.length, bytes: 0, changes: 0, withKeys: 0 };
    for (const name of names) {
      const bytes = await blobs.get(name, 1 << 20);
      tally.bytes += bytes.length;
      for (let at = tally.bytes % step; at < bytes.length; at += step) {
        for (let i = 0; i < Math.max(1, bits); i++) {
          const bad = bytes.slice();
          // Of two bits they differ from byte to byte.
          bad[at]! ^= 1 << ((at * 3 + Math.floor((i * 8) / Math.max(1, bits))) & 7);
          await blobs.put(name, bad);
          const { damage } = await vault.verify();
          const what = `${name}, byte ${at}: ${JSON.stringify(damage)}`;
          expect(
            damage.some(({ file }) => file === name),
            what,
          ).toBe(true);
          const concerns = damage.some(({ snapshots = [], keys = [] }) => snapshots.length + keys.length > 0);
          if (name.startsWith('snaps/')) expect(damage[0]!.snapshots, what).toHaveLength(1);
          tally.changes++;
          if (concerns && name.startsWith(packPrefix)) tally.withKeys++;
        }
      }
      await blobs.put(name, bytes);
    }
    expect((await vault.verify()).damage).toEqual([]);
    expect(tally.withKeys).toBeGreaterThan(0);
    if (bits > 0) process.stdout.write(`${JSON.stringify(tally)}\n`);
  }, 3_600_000);
});
