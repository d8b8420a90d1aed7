/** What is known to be wrong with a store, kept for health(): each damaged place once. */
import { isPassing, isVarveError, type VarveError } from '../../base/errors.ts';
import type { Damage, Health } from '../types.ts';
import type { CheckHealth } from './health-types.ts';

/** Places listed in full; further ones are only counted, so that a ruined disk cannot fill the memory. */
const placesMax = 1000;

export class HealthBook {
  readonly #damage = new Map<string, Damage>();
  readonly #missing: { from: number; to?: number }[] = [];
  #more = 0;
  #refusal: VarveError | undefined;
  #reason: string | undefined;
  /** The last scrub that went through everything. */
  lastCheck: CheckHealth | undefined;

  /**
   * Notes damage; errors that are not about bytes on disk are noted with their code as kind. Errors of the
   * moment are not: who met one was told, and nothing is wrong with the file.
   */
  note(error: unknown): void {
    if (isPassing(error)) return;
    const damage = describe(error);
    const name = `${damage.file}\n${damage.offset ?? ''}\n${damage.message}`;
    if (this.#damage.has(name)) return;
    if (this.#damage.size < placesMax) this.#damage.set(name, damage);
    else this.#more++;
  }

  noteMissing(from: number, to: number | undefined): void {
    if (this.#missing.some((known) => known.from === from && known.to === to)) return;
    this.#missing.push(to === undefined ? { from } : { from, to });
  }

  /** From now on writes are refused with `refusal`; the first call counts. */
  refuseWrites(reason: string, refusal: VarveError): void {
    this.#reason ??= reason;
    this.#refusal ??= refusal;
  }

  /** What a write is refused with, if it is. */
  get refusal(): VarveError | undefined {
    return this.#refusal;
  }

  get isDamaged(): boolean {
    return this.#damage.size > 0 || this.#missing.length > 0;
  }

  /** Without reasons. `failure`: the write that failed since the store was opened, if one did. */
  report(readOnly: boolean, failure?: VarveError): Omit<Health, 'backups'> {
    const damage = Array.from(this.#damage.values());
    if (this.#more > 0) {
      damage.push({ file: '', kind: 'more', message: `${this.#more} more damaged places are not listed` });
    }
    const degraded = this.#refusal !== undefined || failure !== undefined;
    const ok = damage.length === 0 && this.#missing.length === 0 && !degraded;
    const reason = this.#reason ?? (failure === undefined ? undefined : `a write failed: ${failure.message}`);
    return {
      ok,
      status: ok ? 'healthy' : degraded ? 'degraded' : 'warning',
      readOnly: readOnly || degraded,
      ...(reason === undefined ? {} : { reason }),
      reasons: [],
      damage,
      missing: Array.from(this.#missing),
    };
  }
}

function describe(error: unknown): Damage {
  if (!isVarveError(error)) return { file: '', kind: 'unexpected', message: String(error) };
  return {
    file: error.file ?? '',
    ...(error.offset === undefined ? {} : { offset: error.offset }),
    kind: error.code,
    message: error.message,
  };
}
