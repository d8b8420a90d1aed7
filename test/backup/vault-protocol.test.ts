/**
 * Backups, forgets and prunes of one vault at the same time, their calls on the objects interleaved by a
 * seed: whatever they meet, every backup that exists is whole. Prunes have no grace and give runs up at once.
 */
import { describe, expect, test } from 'vitest';
import type { BlobEntry } from '../../src/backup/blob-store.ts';
import { MemoryBlobs } from '../../src/backup/memory-blobs.ts';
import type { Vault } from '../../src/backup/vault.ts';
import { isVarveError } from '../../src/base/errors.ts';
import { Prng } from '../../src/base/prng.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { bytesOf, newStore, TestClock, turn } from '../engine/engine-kit.ts';
import { restored, smallMemory, vaultOn } from './backup-kit.ts';

/** Objects whose every call waits a while first, as the seed says. */
class Slow extends MemoryBlobs {
  readonly #prng: Prng;
  wait = true;

  constructor(seed: number) {
    super();
    this.#prng = new Prng(seed);
  }

  async #pause(): Promise<void> {
    if (!this.wait) return;
    const turns = this.#prng.chance(0.1) ? this.#prng.below(60) : this.#prng.below(4);
    for (let i = 0; i < turns; i++) await turn();
  }

  override async put(name: string, data: Uint8Array, options?: { ifAbsent?: boolean }): Promise<boolean> {
    await this.#pause();
    return await super.put(name, data, options);
  }

  override async get(name: string, bytesMax: number): Promise<Uint8Array> {
    await this.#pause();
    return await super.get(name, bytesMax);
  }

  override async getRange(name: string, from: number, length: number): Promise<Uint8Array> {
    await this.#pause();
    return await super.getRange(name, from, length);
  }

  override async delete(name: string): Promise<boolean> {
    await this.#pause();
    return await super.delete(name);
  }

  override async *list(prefix: string): AsyncGenerator<BlobEntry> {
    await this.#pause();
    // One moment, as object stores list: what comes or goes while it is read is not in it.
    const entries: BlobEntry[] = [];
    for await (const entry of super.list(prefix)) entries.push(entry);
    yield* entries;
  }
}

/** Errors that a call may end with when others get in its way. */
async function mayGiveWay(call: Promise<unknown>): Promise<void> {
  await call.catch((error: unknown) => {
    if (!isVarveError(error, 'VARVE_CONFLICT', 'VARVE_LOCKED')) throw error;
  });
}

/** Objects with something that comes in between, once: before the first call that `due` says. */
class Between extends MemoryBlobs {
  #due: ((call: string) => boolean) | undefined;
  #act: () => Promise<unknown> = () => Promise.resolve();

  /** `due` gets calls as 'put idx/…'. */
  before(due: (call: string) => boolean, act: () => Promise<unknown>): void {
    this.#due = due;
    this.#act = act;
  }

  async #meet(call: string): Promise<void> {
    if (this.#due?.(call) !== true) return;
    this.#due = undefined;
    await this.#act();
  }

  override async put(name: string, data: Uint8Array, options?: { ifAbsent?: boolean }): Promise<boolean> {
    await this.#meet(`put ${name}`);
    return await super.put(name, data, options);
  }

  override async get(name: string, bytesMax: number): Promise<Uint8Array> {
    await this.#meet(`get ${name}`);
    return await super.get(name, bytesMax);
  }

  override async *list(prefix: string): AsyncGenerator<BlobEntry> {
    await this.#meet(`list ${prefix}`);
    yield* super.list(prefix);
  }
}

/** A vault with one backup, and something new to back up. */
async function newsFor(store: Between): Promise<{ vault: Vault; engine: Engine }> {
  const { engine } = await newStore();
  const vault = await vaultOn(store, new TestClock());
  await engine.put('old', bytesOf(1, 5000));
  await engine.backup(vault);
  await engine.put('new', bytesOf(2, 5000));
  return { vault, engine };
}

const isIndexPut = (call: string): boolean => call.startsWith('put idx/');

async function allWhole(vault: Vault, what: string): Promise<void> {
  const report = await vault.verify({ level: 0 });
  expect(report.damage, what).toEqual([]);
  for (const { id } of await vault.list()) {
    const one = await restored(vault, { backup: id });
    expect(one.report, `${what}, backup ${id}`).toMatchObject({ ok: true, proved: true });
  }
}

describe('vault protocol', () => {
  test('any interleaving of backups, forgets and prunes keeps every backup whole', async () => {
    const engines: Engine[] = [(await newStore()).engine, (await newStore()).engine];
    for (let seed = 1; seed <= 30; seed++) {
      const prng = new Prng(seed);
      const store = new Slow(seed);
      const vault = await vaultOn(store, new TestClock(), seed % 2 === 0 ? smallMemory : undefined);
      for (const engine of engines) await engine.put('shared', bytesOf(seed % 3, 5000));
      await mayGiveWay(engines[0]!.backup(vault));
      const writer = async (engine: Engine): Promise<void> => {
        for (let i = 0; i < 3; i++) {
          // Values come and go and come again: what was pruned away is needed anew.
          await engine.put('value', bytesOf(prng.below(3), 4000));
          await mayGiveWay(engine.backup(vault, { mode: prng.chance(0.2) ? 'full' : 'incremental' }));
        }
      };
      const pruner = async (): Promise<void> => {
        for (let i = 0; i < 5; i++) {
          if (prng.chance(0.7)) await vault.forget({ keep: { last: 1 } });
          const repackBelow = prng.pick([0, 0.5, 1]);
          await mayGiveWay(vault.prune({ graceMs: 0, partAgeMs: prng.chance(0.3) ? 0 : 1e9, repackBelow }));
        }
      };
      await Promise.all([
        writer(engines[0]!),
        writer(engines[1]!),
        pruner(),
        prng.chance(0.5) ? pruner() : undefined,
      ]);
      store.wait = false;
      await allWhole(vault, `seed ${seed}`);
      await vault.prune({ partAgeMs: 0 });
      await allWhole(vault, `seed ${seed} after the last prune`);
    }
  });

  test('a pack named and put again while a prune is about to delete it is named no more', async () => {
    const store = new Between();
    const { vault, engine } = await newsFor(store);
    let pruned: Promise<unknown> | undefined;
    let backed: Promise<unknown> | undefined;
    // The run has put its pack. The prune has seen that twice, and no index object that names it.
    await new Promise<void>((done, failed) => {
      store.before(isIndexPut, async () => {
        const isRead = new Promise<void>((read) => {
          store.before(
            (call) => call.startsWith('get pending-delete/'),
            async () => {
              read();
              await backed;
            },
          );
        });
        pruned = vault.prune();
        pruned.then(() => done(), failed);
        await isRead;
      });
      backed = engine.backup(vault);
      backed.catch(failed);
    });
    expect(await pruned).toMatchObject({ deletedPacks: 1 });
    expect(await backed).toMatchObject({ ok: true });
    await allWhole(vault, 'behind the prune');
  });

  test('a pack that was deleted before its run named it is named no more', async () => {
    for (const archive of [false, true]) {
      const store = new Between();
      const { vault, engine } = await newsFor(store);
      store.before(isIndexPut, () => vault.prune());
      if (archive) await engine.archive(vault);
      else await engine.backup(vault);
      await allWhole(vault, 'behind the run');
    }
  });

  test('packs that a prune deletes while index objects are merged are named no more', async () => {
    const store = new Between();
    const { vault, engine } = await newsFor(store);
    for (let i = 0; i < 15; i++) {
      await engine.put('new', bytesOf(10 + i, 5000));
      await engine.backup(vault);
    }
    await engine.put('new', bytesOf(3, 5000));
    let puts = 0;
    store.before(
      (call) => isIndexPut(call) && ++puts === 2,
      async () => {
        await vault.forget({ keep: { last: 1 } });
        expect((await vault.prune()).deletedPacks).toBeGreaterThan(10);
      },
    );
    await engine.backup(vault);
    expect(puts).toBe(2);
    await allWhole(vault, 'behind the merge');
  });

  test('what a run that died names and is gone, the next prune takes out of the index', async () => {
    const store = new Between();
    const { vault, engine } = await newsFor(store);
    store.before(isIndexPut, async () => {
      await vault.prune();
      store.before(
        (call) => call.endsWith('.part'),
        () => Promise.reject(new Error('power cut')),
      );
    });
    await expect(engine.backup(vault)).rejects.toThrow('power cut');
    expect((await vault.verify({ level: 0 })).damage).toHaveLength(1);
    await vault.prune();
    await allWhole(vault, 'behind the next prune');
  });

  test('a pack that is put and named while a vault is looked at is no missing one', async () => {
    const store = new Between();
    const { vault, engine } = await newsFor(store);
    store.before(
      (call) => call === 'list idx/',
      () => engine.backup(vault),
    );
    await allWhole(vault, 'beside the backup');
  });
});
