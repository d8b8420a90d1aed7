/**
 * Random histories of a store with backups and an archived log: each backup has the root from scratch, and
 * the store restored to random moments equals the model. One here; more, and from other seeds:
 *
 *   VARVE_SEED=1000 VARVE_COUNT=1000 npx vitest run test/backup/histories.test.ts
 */
import { describe, test } from 'vitest';
import { checkMoments, runHistory } from './archive-kit.ts';

const firstSeed = Number(process.env.VARVE_SEED ?? 77);
const count = Number(process.env.VARVE_COUNT ?? 1);
const moments = count > 1 ? 20 : 4;

describe('random histories', () => {
  for (let seed = firstSeed; seed < firstSeed + count; seed++) {
    test(`any moment equals the model, any backup has the root from scratch (${seed})`, async () => {
      const history = await runHistory(seed, 40, true);
      await checkMoments(history, seed, moments);
      await history.engine.close();
    }, 600_000);
  }
});
