/** This engine, through its public face. */
import { openEngine } from '../../src/index.ts';
import type { OpenSettings, PeerStore, PeerSystem } from './store.ts';

async function open({ dir, isDurable }: OpenSettings): Promise<PeerStore> {
  const engine = await openEngine(dir, { durability: isDurable ? 'full' : 'os' });
  return {
    getSync: (key) => engine.getSync(key),
    get: (key) => engine.get(key),
    put: (key, value) => engine.put(key, value),
    batch: (keys, values) => engine.batch(keys.map((key, i) => ({ type: 'put', key, value: values[i]! }))),
    scan: async (visit) => {
      for await (const { key, value } of engine.scan()) visit(key, value!);
    },
    close: () => engine.close(),
  };
}

/** Defaults, with durability 'full' or 'os'. */
export const varve: PeerSystem = { load: async () => open };
