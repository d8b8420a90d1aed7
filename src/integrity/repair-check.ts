/** What is wrong with a store before it is repaired: a full check with no engine around it. */
import type { FileNo } from '../base/brands.ts';
import { isDamage, isVarveError, type VarveError } from '../base/errors.ts';
import type { CatalogSegment } from '../format/catalog.ts';
import { filePath } from '../format/file-names.ts';
import { type Finding, Findings } from './findings.ts';
import { rowsOfTables } from './key-walk.ts';
import { LiveFiles } from './live-files.ts';
import type { RepairWork } from './repair-types.ts';
import { verifyStore } from './verify.ts';
import type { VerifyReport } from './verify-types.ts';

export interface Checked {
  /** Nothing is wrong, and there is nothing to do. */
  readonly isSound: boolean;
  readonly damage: readonly Finding[];
  /** Sealed segments of which every byte was read, and every chunk compared with its id: nothing is wrong. */
  readonly sound: ReadonlySet<FileNo>;
}

/** Errors as verify, but for damage of the roots, which is a finding. */
export async function checkWhole(
  { fs, clock, threads, onProgress, checkAborted }: RepairWork,
  _pause: () => Promise<void> | undefined,
): Promise<Checked> {
  let files: LiveFiles | undefined;
  try {
    files = await LiveFiles.read(fs);
    const forest = await files.openForest();
    const { catalog } = files.loaded;
    const segments = files.openSegments(
      new Set([...catalog.sealed, ...catalog.unsealed].map(({ no }) => no)),
    );
    try {
      const report = await verifyStore({
        fs,
        clock,
        level: 'full',
        start: undefined,
        maxMs: undefined,
        threads,
        onProgress: (progress) => onProgress?.({ ...progress, phase: 'check' }),
        checkAborted,
        seqMax: () => Number.MAX_SAFE_INTEGER,
        now: {
          chunks: forest.chunks,
          segments,
          rows: () => rowsOfTables(forest.keys.tables),
          spaceName: () => undefined,
          snapshots: [],
        },
        onDamage: () => undefined,
      });
      return { isSound: report.ok, damage: report.damage, sound: soundOf(report, catalog.sealed) };
    } finally {
      await segments.close();
    }
  } catch (error) {
    if (!isDamage(error) && !isVarveError(error, 'VARVE_NOT_FOUND')) throw error;
    const findings = new Findings(() => undefined);
    findings.add('superblock', error as VarveError);
    return { isSound: false, damage: findings.list, sound: new Set() };
  } finally {
    await files?.close();
  }
}

/** None where not all damage is listed. */
function soundOf(report: VerifyReport, sealed: readonly CatalogSegment[]): Set<FileNo> {
  if (!report.done || (report.moreDamage ?? 0) > 0) return new Set();
  const damaged = new Set(report.damage.map(({ file }) => file));
  return new Set(sealed.map(({ no }) => no).filter((no) => !damaged.has(filePath('seg', no))));
}
