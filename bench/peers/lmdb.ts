/** lmdb-js: a memory-mapped B+tree with one writer. */
import { importPeer } from './install.ts';
import type { OpenSettings, PeerStore, PeerSystem } from './store.ts';

interface LmdbDatabase {
  getBinary(key: string): Uint8Array | undefined;
  put(key: string, value: Uint8Array): Promise<boolean>;
  batch(work: () => void): Promise<unknown>;
  getRange(): Iterable<{ key: string; value: Uint8Array }>;
  readonly flushed: Promise<unknown>;
  close(): Promise<void>;
}

interface LmdbModule {
  open(options: object): LmdbDatabase;
}

async function load(): Promise<(settings: OpenSettings) => Promise<PeerStore>> {
  const lmdb = await importPeer<LmdbModule>('lmdb');
  return async ({ dir, isDurable }) => {
    const path = `${dir}/data.mdb`;
    const db = lmdb.open({ path, noSubdir: true, encoding: 'binary', noSync: !isDurable });
    // A commit's own promise says that it is visible; `flushed`, that the newest one is on disk.
    const done = async (committed: Promise<unknown>): Promise<void> => {
      await committed;
      await db.flushed;
    };
    return {
      getSync: (key) => db.getBinary(key),
      put: (key, value) => (isDurable ? done(db.put(key, value)) : db.put(key, value)),
      batch: (keys, values) => {
        const committed = db.batch(() => {
          for (let i = 0; i < keys.length; i++) db.put(keys[i]!, values[i]!);
        });
        return isDurable ? done(committed) : committed;
      },
      scan: async (visit) => {
        for (const { key, value } of db.getRange()) visit(key, value);
      },
      close: () => db.close(),
    };
  };
}

/** Defaults, awaiting `flushed`; not durable: noSync. */
export const lmdb: PeerSystem = { load };
