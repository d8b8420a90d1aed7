/**
 * Archives that schedules ask for: while schedules are run the log goes on into their vaults, so that every
 * moment between backups can be restored.
 *
 * Invariants (test/engine/schedule-archives.test.ts)
 * - From one round to the next nothing that was committed is missing ("any moment between two backups can be
 *   restored").
 * - None goes on when its schedule is gone, or the run has ended ("an archive ends with its schedule").
 */
import type { ArchiveReport } from '../../backup/archive-run.ts';
import type { ScheduleEntry } from '../../backup/schedule-planner.ts';
import type { Vault } from '../../backup/vault.ts';
import { isVarveError, type VarveErrorCode } from '../../base/errors.ts';
import type { Store } from '../store.ts';
import { archiveStore } from './archiving.ts';

/** What happens with an archive. */
export type ArchiveEvent =
  /** Something was archived, or a value was gone before it could be. */
  | { readonly type: 'archived'; readonly schedule: string; readonly report: ArchiveReport }
  /** The store is open for reading only: its log is for the process that writes to it. */
  | { readonly type: 'archive-left'; readonly schedule: string }
  /** A round failed; the next look tries again. Told once for each cause. */
  | {
      readonly type: 'archive-failed';
      readonly schedule: string;
      readonly error: { readonly code: string; readonly message: string };
    };

interface Going {
  readonly stop: AbortController;
  readonly ended: Promise<void>;
}

/** How a call ends that could not begin, and will as soon as it can. */
const notYet: readonly VarveErrorCode[] = ['VARVE_NOT_FOUND', 'VARVE_CONFLICT'];

export class ScheduleArchives {
  readonly #store: Store;
  readonly #openVault: (vault: string) => Promise<Vault>;
  readonly #tell: (event: ArchiveEvent) => void;
  readonly #going = new Map<string, Going>();
  /** Schedules of which the last round failed, with the cause. */
  readonly #failed = new Map<string, string>();
  readonly #left = new Set<string>();

  constructor(
    store: Store,
    openVault: (vault: string) => Promise<Vault>,
    tell: (event: ArchiveEvent) => void,
  ) {
    this.#store = store;
    this.#openVault = openVault;
    this.#tell = tell;
  }

  /** The last round of some archive failed. */
  get isFailing(): boolean {
    return this.#failed.size > 0;
  }

  /** Archives go on for these schedules, and for no others. */
  async follow(entries: readonly ScheduleEntry[]): Promise<void> {
    const wanted = new Map(archivedOf(entries).map((entry) => [nameOf(entry), entry]));
    const over = [...this.#going.keys()].filter((name) => !wanted.has(name));
    await Promise.all(over.map((name) => this.#end(name)));
    for (const [name, entry] of wanted)
      if (!this.#going.has(name) && this.#mayArchive(entry)) this.#begin(name, entry);
  }

  /** One round for each of these schedules. */
  async once(entries: readonly ScheduleEntry[], signal: AbortSignal | undefined): Promise<void> {
    for (const entry of archivedOf(entries))
      if (this.#mayArchive(entry)) await this.#archive(entry, undefined, signal);
  }

  /** Ends all of them. */
  async end(): Promise<void> {
    await Promise.all([...this.#going.keys()].map((name) => this.#end(name)));
  }

  /** Only who writes has a log to archive; that it is left to another is told once. */
  #mayArchive({ name }: ScheduleEntry): boolean {
    if (this.#store.writableNow() !== undefined) return true;
    if (!this.#left.has(name)) this.#tell({ type: 'archive-left', schedule: name });
    this.#left.add(name);
    return false;
  }

  #begin(name: string, entry: ScheduleEntry): void {
    const stop = new AbortController();
    const ended = this.#archive(entry, entry.schedule.archive!.everyMs, stop.signal).then(() => {
      this.#going.delete(name);
    });
    this.#going.set(name, { stop, ended });
  }

  async #end(name: string): Promise<void> {
    const going = this.#going.get(name);
    going?.stop.abort();
    await going?.ended;
  }

  /** Until the signal fires, or one round without `everyMs`. Never throws. */
  async #archive(
    { name, schedule }: ScheduleEntry,
    everyMs: number | undefined,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { bytesPerSecond } = schedule;
    try {
      const vault = await this.#openVault(schedule.vault);
      await archiveStore(this.#store, vault, {
        ...(everyMs === undefined ? {} : { everyMs }),
        ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
        ...(signal === undefined ? {} : { signal }),
        onRound: (report) => {
          this.#failed.delete(name);
          if (report.objects > 0 || !report.ok) this.#tell({ type: 'archived', schedule: name, report });
        },
      });
    } catch (error) {
      // Before the first backup there is nothing to begin at; another call may be at it.
      if (signal?.aborted === true || this.#store.isClosing || isVarveError(error, ...notYet)) return;
      const { code, message } = isVarveError(error) ? error : { code: 'ERROR', message: String(error) };
      const cause = `${code} ${message}`;
      if (this.#failed.get(name) !== cause)
        this.#tell({ type: 'archive-failed', schedule: name, error: { code, message } });
      this.#failed.set(name, cause);
    }
  }
}

function archivedOf(entries: readonly ScheduleEntry[]): ScheduleEntry[] {
  return entries.filter(({ schedule }) => schedule.archive !== undefined && schedule.paused !== true);
}

/** What an archive that goes on is known by: another vault or time is another one. */
function nameOf({ name, schedule }: ScheduleEntry): string {
  return JSON.stringify([name, schedule.vault, schedule.archive?.everyMs, schedule.bytesPerSecond]);
}
