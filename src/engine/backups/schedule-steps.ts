/** What one run of a schedule does: backup, then what is to be done behind it. */
import type { BackupReport } from '../../backup/backup-run.ts';
import type { PruneReport } from '../../backup/prune-run.ts';
import type { ScheduleEntry } from '../../backup/schedule-planner.ts';
import type { ForgetReport, Vault } from '../../backup/vault.ts';
import { lockRun } from '../../backup/vault-lock.ts';
import type { VerifyVaultReport } from '../../backup/verify-run.ts';
import { toHex } from '../../base/bytes.ts';
import { isVarveError } from '../../base/errors.ts';
import type { Store } from '../store.ts';
import { backupStore } from './backups.ts';

/** A step of a run that was done. */
export type StepEvent =
  | { readonly type: 'backup'; readonly schedule: string; readonly report: BackupReport }
  | { readonly type: 'forgot'; readonly schedule: string; readonly report: ForgetReport }
  | { readonly type: 'pruned'; readonly schedule: string; readonly report: PruneReport }
  | { readonly type: 'verified'; readonly schedule: string; readonly report: VerifyVaultReport };

/** Of RunScheduleOptions, what concerns one run. */
export interface RunMeans {
  readonly openVault: (vault: string) => Promise<Vault>;
  readonly breakLock: boolean;
  readonly force: boolean;
  readonly signal: AbortSignal | undefined;
}

/** The tag that backups of a schedule carry. */
export function scheduleTag(name: string): string {
  return `schedule:${name}`;
}

/** What one run does in the vault, under its lock. */
export class RunSteps {
  readonly #store: Store;
  readonly #entry: ScheduleEntry;
  readonly #means: RunMeans;
  readonly #tell: (event: StepEvent) => void;
  /** The vault, once it is open. */
  vault: Vault | undefined;
  /** Of the backup it made. */
  backup: string | undefined;
  isVerified = false;
  isCorrupt = false;
  /** What was found wrong without an error being thrown. */
  fault: { code: string; message: string } | undefined;

  constructor(store: Store, entry: ScheduleEntry, means: RunMeans, tell: (event: StepEvent) => void) {
    this.#store = store;
    this.#entry = entry;
    this.#means = means;
    this.#tell = tell;
  }

  /** The id of a backup that somebody else has made for this time; undefined: this one was made. */
  async run(dueMs: number, retry: boolean): Promise<string | undefined> {
    const { openVault, breakLock, force } = this.#means;
    const vault = await openVault(this.#entry.schedule.vault);
    this.vault = vault;
    const store = toHex(this.#store.parts.identity.dbUuid);
    const lock = await lockRun(vault.env, store, breakLock);
    try {
      const made = (await vault.list()).findLast(
        (info) => info.store === store && info.tags.includes(scheduleTag(this.#entry.name)),
      );
      const isMade = made !== undefined && made.time.getTime() >= dueMs && made.damagedKeys === 0;
      if (isMade && !retry && !force && made.time.getTime() >= this.#entry.definedMs) return made.id;
      await this.#steps(vault, store);
      return undefined;
    } finally {
      await lock.release();
    }
  }

  async #steps(vault: Vault, store: string): Promise<void> {
    const { name, schedule } = this.#entry;
    const { signal } = this.#means;
    const {
      mode,
      label,
      tags = [],
      verifyNew = true,
      bytesPerSecond,
      keep,
      timeZone,
      verify,
      archive,
    } = schedule;
    const ends = signal === undefined ? {} : { signal };
    const report = await this.#store.run(() =>
      backupStore(this.#store, vault, {
        ...ends,
        ...(mode === undefined ? {} : { mode }),
        ...(label === undefined ? {} : { label }),
        ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
        verify: verifyNew,
        tags: [...tags, scheduleTag(name)],
      }),
    );
    this.backup = report.id;
    this.#tell({ type: 'backup', schedule: name, report });
    if (!report.ok) this.#fault(`${report.damagedKeys} keys are damaged in the store and were left out`);
    else if (keep !== undefined) {
      const zone = timeZone === undefined ? {} : { timeZone };
      this.#tell({
        type: 'forgot',
        schedule: name,
        report: await vault.forget({ ...ends, ...zone, keep, store }),
      });
      const keepMs = archive?.keepMs;
      const prune = { ...ends, ...(keepMs === undefined ? {} : { archiveMs: keepMs }) };
      this.#tell({ type: 'pruned', schedule: name, report: await vault.prune(prune) });
    }
    if (verify === undefined) return;
    const { level, maxMs, parts, testKeys } = verify;
    const proof = await vault.verify({
      ...ends,
      ...(level === undefined ? {} : { level }),
      ...(maxMs === undefined ? {} : { maxMs }),
      ...(testKeys === undefined ? {} : { testKeys }),
      ...(parts === undefined && maxMs === undefined ? {} : { rotate: parts ?? 1 }),
    });
    this.#tell({ type: 'verified', schedule: name, report: proof });
    this.isVerified = proof.ok;
    if (!proof.ok) this.#fault(proof.damage[0]?.message ?? 'the vault is damaged');
  }

  #fault(message: string): void {
    this.isCorrupt = true;
    this.fault ??= { code: 'VARVE_CORRUPT', message };
  }
}

/** Code and text of what a run ended with. */
export function errorOf(error: unknown): { code: string; message: string } {
  if (isVarveError(error)) return { code: error.code, message: error.message };
  return { code: 'ERROR', message: error instanceof Error ? error.message : String(error) };
}
