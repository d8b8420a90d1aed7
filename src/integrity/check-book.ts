/**
 * Remembers what was checked when, across restarts, in a file that is no part of the store. What is checked
 * is never written to: the record is a draft in `tmp/`, synced and renamed.
 *
 * Invariants (test/integrity/scrub.test.ts)
 * - What is skipped was checked at that level or a stricter one, since then, and cannot have changed ("only
 *   what was not checked since is checked").
 * - A record that is damaged, absent or of another store says nothing ("a damaged record is none").
 */
import { isVarveError } from '../base/errors.ts';
import {
  type CheckRecord,
  type CheckRound,
  checkedUnitsMax,
  checkRecordBytesMax,
  decodeCheckRecord,
  encodeCheckRecord,
} from '../format/check-record.ts';
import { checksName } from '../format/file-names.ts';
import type { FsPort } from '../fs/port.ts';
import type { Unit } from './live-files.ts';
import { type VerifyLevel, verifyLevels, verifyPhases } from './verify-cursor.ts';

const draftName = `tmp/${checksName}`;

interface Checked {
  readonly level: number;
  readonly ms: number;
}

export class CheckBook {
  readonly #store: string;
  readonly #units = new Map<string, Checked>();
  #last: CheckRound | undefined;

  /** `store`: hex of its uuid. */
  constructor(store: string) {
    this.#store = store;
  }

  /** The last check that went through all of it; undefined: never. */
  get last(): { readonly at: Date; readonly level: VerifyLevel; readonly damage: number } | undefined {
    if (this.#last === undefined) return undefined;
    const { ms, level, damage } = this.#last;
    return { at: new Date(ms), level: verifyLevels[level]!, damage };
  }

  /** When the unit was last found sound at `level` or a stricter one, ms since 1970; 0 = never. */
  checkedMs(unit: Unit, level: VerifyLevel): number {
    const found = this.#units.get(nameOf(unit));
    return found !== undefined && found.level >= verifyLevels.indexOf(level) ? found.ms : 0;
  }

  /** The unit was found sound. Files that may still change, and the roots, are not remembered. */
  note(unit: Unit, level: VerifyLevel, ms: number): void {
    if (unit.phase === 'roots' || !unit.isFinal) return;
    const of = verifyLevels.indexOf(level);
    // A closer look is worth more than a later one.
    if ((this.#units.get(nameOf(unit))?.level ?? 0) <= of) this.#units.set(nameOf(unit), { level: of, ms });
  }

  /** A check went through everything; `units` are what there is: others have gone. */
  ended(units: readonly Unit[], round: { ms: number; level: VerifyLevel; damage: number }): void {
    const there = new Set(units.map(nameOf));
    for (const name of this.#units.keys()) if (!there.has(name)) this.#units.delete(name);
    this.#last = { ...round, level: verifyLevels.indexOf(round.level) };
  }

  /** Takes in what the file says; one that is damaged, or of another store, says nothing. VARVE_IO. */
  async load(fs: FsPort): Promise<void> {
    const bytes = await readWhole(fs);
    if (bytes === undefined) return;
    let record: CheckRecord;
    try {
      record = decodeCheckRecord(bytes, checksName);
    } catch (error) {
      if (isVarveError(error, 'VARVE_CORRUPT')) return;
      throw error;
    }
    if (record.store !== this.#store) return;
    for (const { phase, no, level, ms } of record.units) {
      if (phase >= verifyPhases.length || level >= verifyLevels.length) continue;
      const name = `${phase}/${no}`;
      if ((this.#units.get(name)?.ms ?? -1) < ms) this.#units.set(name, { level, ms });
    }
    const { last } = record;
    if (last !== undefined && last.level < verifyLevels.length && last.ms > (this.#last?.ms ?? -1))
      this.#last = last;
  }

  /** Writes the file: as before or as now, whatever happens. VARVE_IO, VARVE_NO_SPACE. */
  async save(fs: FsPort): Promise<void> {
    const units = Array.from(this.#units, ([name, { level, ms }]) => {
      const [phase, no] = name.split('/').map(Number);
      return { phase: phase!, no: no!, level, ms };
    });
    // The newest are kept: what is forgotten is checked again.
    units.sort((a, b) => b.ms - a.ms);
    const kept = units.slice(0, checkedUnitsMax);
    const bytes = encodeCheckRecord({ store: this.#store, last: this.#last, units: kept });
    await fs.unlink(draftName);
    const file = await fs.open(draftName, 'create');
    try {
      await file.write(bytes, 0);
      await file.sync();
    } finally {
      await file.close();
    }
    await fs.rename(draftName, checksName);
    await fs.syncDir('');
  }
}

function nameOf({ phase, no }: Unit): string {
  return `${verifyPhases.indexOf(phase)}/${no}`;
}

/** The file; undefined where there is none, or where it is longer than any record. */
async function readWhole(fs: FsPort): Promise<Uint8Array | undefined> {
  const stat = await fs.stat(checksName);
  if (stat?.kind !== 'file' || stat.size > checkRecordBytesMax) return undefined;
  const file = await fs.open(checksName, 'read');
  try {
    const bytes = new Uint8Array(stat.size);
    const length = await file.read(bytes, 0);
    return bytes.subarray(0, length);
  } finally {
    await file.close();
  }
}
