/** classic-level: LevelDB, a log-structured tree behind a thread pool. */
import { importPeer } from './install.ts';
import type { OpenSettings, PeerStore, PeerSystem } from './store.ts';

interface LevelIterator {
  nextv(size: number): Promise<[string, Uint8Array][]>;
  close(): Promise<void>;
}

interface LevelDatabase {
  open(): Promise<void>;
  get(key: string): Promise<Uint8Array | undefined>;
  getSync(key: string): Uint8Array | undefined;
  put(key: string, value: Uint8Array, options: object): Promise<void>;
  batch(operations: object[], options: object): Promise<void>;
  iterator(): LevelIterator;
  close(): Promise<void>;
}

interface LevelModule {
  readonly ClassicLevel: new (dir: string, options: object) => LevelDatabase;
}

/** Entries asked for at a time by a scan, which is its fastest way to read. */
const scanStep = 1000;

async function load(): Promise<(settings: OpenSettings) => Promise<PeerStore>> {
  const { ClassicLevel } = await importPeer<LevelModule>('classic-level');
  return async ({ dir, isDurable }) => {
    const db = new ClassicLevel(dir, { valueEncoding: 'view' });
    await db.open();
    const options = { sync: isDurable };
    return {
      getSync: (key) => db.getSync(key),
      get: (key) => db.get(key),
      put: (key, value) => db.put(key, value, options),
      batch: (keys, values) =>
        db.batch(
          keys.map((key, i) => ({ type: 'put', key, value: values[i] })),
          options,
        ),
      scan: async (visit) => {
        const iterator = db.iterator();
        for (;;) {
          const entries = await iterator.nextv(scanStep);
          if (entries.length === 0) break;
          for (const [key, value] of entries) visit(key, value);
        }
        await iterator.close();
      },
      close: () => db.close(),
    };
  };
}

/** Defaults, with `sync` on or off. */
export const classicLevel: PeerSystem = { load };
