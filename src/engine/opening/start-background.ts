/** What works in the background of a store that is written to, and what it and the callers must know. */
import type { FileNo, Seq } from '../../base/brands.ts';
import { defaultIndexStepLimits, type IndexStepLimits } from '../../secondary/index-steps.ts';
import type { CompactionLimits } from '../../tree/compaction-planner.ts';
import type { KeepRule } from '../../tree/keep-rule.ts';
import { Compactor, type CompactorOptions, defaultCompactionLimits } from '../background/compactor.ts';
import { Expirer } from '../background/expirer.ts';
import { defaultReapLimits, Reaper, type ReapLimits } from '../background/reaper.ts';
import { History } from '../history/history.ts';
import { Purger, type PurgerOptions } from '../purging/purger.ts';
import { IndexWork, type IndexWorkOptions } from '../queries/index-work.ts';
import { ReadMarks } from '../reading/read-marks.ts';
import { QuotaCounts } from '../spaces/quota-counts.ts';
import type { WriteSide } from '../store.ts';
import { flushCost, WritePacer } from '../writing/write-pacer.ts';
import type { Found } from './found.ts';

/** Bounds that tests set. */
export interface BackgroundLimits {
  readonly compaction: Partial<CompactionLimits> | 'off' | undefined;
  readonly reaping: Partial<ReapLimits> | undefined;
  readonly purging: 'off' | undefined;
  readonly indexing: Partial<IndexStepLimits> | undefined;
}

/** What the writing side has made before. */
export type WriteParts = Pick<CompactorOptions, 'catalogs' | 'checkpointer' | 'log' | 'onFailed'> &
  Pick<PurgerOptions, 'txn' | 'chunks' | 'presence'> &
  Pick<IndexWorkOptions, 'entries'>;

/** The parts that work, and what starts those that have something to do. */
export interface StartedBackground
  extends Pick<
    WriteSide,
    | 'compactor'
    | 'reaper'
    | 'purger'
    | 'expirer'
    | 'indexWork'
    | 'quotas'
    | 'marks'
    | 'history'
    | 'pacer'
    | 'snapshotDeleted'
  > {
  readonly startIfDue: () => void;
}

/** Makes all of it; nothing runs before it is told to start. */
export function startBackground(
  { env, forest, segments, health, indexes, options: { logger, memory } }: Found,
  { compaction, reaping, purging, indexing }: BackgroundLimits,
  parts: WriteParts,
): StartedBackground {
  const { catalogs, txn } = parts;
  const { dbUuid } = catalogs.slot;
  const marks = new ReadMarks(parts.log.visibleSeq);
  const visibleSeq = (): Seq => parts.log.visibleSeq;
  const history = new History({ marks, forest, visibleSeq, writer: { env, ...parts } });
  const keepRule = (): KeepRule => history.keepRule();
  const advance = (): Promise<void> => history.advance();
  const { checkpointer } = parts;
  const pacer = new WritePacer(env.clock, () => flushCost(checkpointer.msPerMiB, forest.fill));
  const common = { ...parts, env, forest, health, logger, keepRule, advance, pacer };
  const limits = compaction === 'off' ? undefined : { ...defaultCompactionLimits, ...compaction };
  const readBytes = memory.mergeReadBytes;
  const isSegment = (no: FileNo): boolean => segments.has(no);
  const compactor = new Compactor({ ...common, dbUuid, limits, isSegment, readBytes });
  const features = (): number => catalogs.catalog.features;
  const purger = new Purger({ ...common, features, isOff: purging === 'off' });
  const onStep = (): void => purger.work.startIfDue();
  const reaper = new Reaper({ ...common, limits: { ...defaultReapLimits, ...reaping }, onStep });
  const stepLimits = { ...defaultIndexStepLimits, ...indexing };
  const indexWork = new IndexWork({ ...common, book: indexes, limits: stepLimits });
  const expirer = new Expirer(common);
  const quotas = new QuotaCounts({ ...common, marks, reaper, expirer });
  txn.now = () => Math.max(env.clock.now(), parts.log.lastTimeMs);
  txn.onExpiry = (ms) => expirer.noted(ms);
  txn.ends.fate = purger;
  marks.onReleased = () => purger.released();
  const startIfDue = (): void => {
    compactor.startIfDue();
    reaper.work.startIfDue();
    purger.work.startIfDue();
    expirer.work.startIfDue();
    indexWork.work.startIfDue();
    quotas.work.startIfDue();
  };
  const snapshotDeleted = (): void => purger.work.startIfDue();
  const works = { compactor, reaper, purger, expirer, indexWork, quotas };
  return { ...works, marks, history, pacer, startIfDue, snapshotDeleted };
}
