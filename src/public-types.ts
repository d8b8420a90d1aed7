/** Types of the public face, the same for both entries. */

export type { ArchiveInfo } from './backup/archive-objects.ts';
export type { ArchiveReport } from './backup/archive-run.ts';
export type { BackupInfo, VaultDamage, VaultProgress } from './backup/backup-info.ts';
export type { BackupOptions, BackupReport } from './backup/backup-run.ts';
export type { BlobCaps, BlobData, BlobEntry, BlobStore, OpenBlob } from './backup/blob-store.ts';
export type { PruneOptions, PruneReport } from './backup/prune-run.ts';
export type { RestoreOptions, RestoreReport } from './backup/restore-run.ts';
export type { KeepRules } from './backup/retention-planner.ts';
export type { BackupSchedule, ScheduleArchive, ScheduleVerify } from './backup/schedule-planner.ts';
export type { ForgetOptions, ForgetReport, Vault, VaultOptions, VaultStats } from './backup/vault.ts';
export type { BackupDifference } from './backup/vault-diff.ts';
export type { VerifyVaultOptions, VerifyVaultReport } from './backup/verify-run.ts';
export type { Seq } from './base/brands.ts';
export type { Clock } from './base/clock.ts';
export type { VarveErrorCode } from './base/errors.ts';
export type { ArchiveOptions } from './engine/backups/archiving.ts';
export type { BackupRecord } from './engine/backups/backup-book.ts';
export type { BackupView, OpenBackupOptions } from './engine/backups/backup-view.ts';
export type { LiveRestoreOptions, LiveRestoreReport } from './engine/backups/live-restore.ts';
export type { ScheduleNotes } from './engine/backups/schedule-book.ts';
export type {
  RunScheduleOptions,
  ScheduleEvent,
  ScheduleReport,
  ScheduleRun,
} from './engine/backups/schedule-run.ts';
export type { ListSchedulesOptions, ScheduleInfo, ScheduleList } from './engine/backups/schedules.ts';
export type {
  CompactOptions,
  CompactProgress,
  CompactReport,
  HeldSpace,
  PinnedSpace,
  SpaceHolder,
  SpaceStats,
} from './engine/cleaning/space-types.ts';
export type { Engine } from './engine/engine.ts';
export type { EngineEvents, Listener } from './engine/events.ts';
export type {
  Change,
  ChangeFeed,
  ChangesOptions,
  DeleteChange,
  DeleteRangeChange,
  KeyBounds,
  PutChange,
} from './engine/feed/change-types.ts';
export type { CheckHealth, DiskHealth, HealthLevel, HealthReason } from './engine/health/health-types.ts';
export type { RepairOptions } from './engine/health/repairing.ts';
export type { ScrubOptions, ScrubReport } from './engine/health/scrub.ts';
export type { ScrubbingOptions } from './engine/health/scrub-options.ts';
export type { VerifyOptions } from './engine/health/verifying.ts';
export type {
  Difference,
  DiffOptions,
  KeptBy,
  SnapshotInfo,
  VersionInfo,
  ViewOptions,
} from './engine/history/history-types.ts';
export type { At } from './engine/history/point.ts';
export type { ReadView, ViewReadOptions } from './engine/history/read-view.ts';
export type { SnapshotList } from './engine/history/snapshots.ts';
export type { Follower, FollowOptions } from './engine/leases/follower.ts';
export type { MemoryOptions } from './engine/memory-options.ts';
export type {
  ChangesRetention,
  ChunkingOptions,
  CleaningOptions,
  EngineOptions,
  HistoryOptions,
  Logger,
} from './engine/options.ts';
export type { PurgeStats } from './engine/purging/purge-types.ts';
export type { DefineOptions, IndexList } from './engine/queries/indexes.ts';
export type {
  IndexQuery,
  IndexTuple,
  QueryEntry,
  QueryOptions,
  QueryPlan,
  StateQuery,
  Where,
  WhereQuery,
} from './engine/queries/query-types.ts';
export type { DroppedVersion, RetentionPlan, RetentionPlanOptions } from './engine/spaces/retention-plan.ts';
export type { SpaceList } from './engine/spaces/space-list.ts';
export type { RetentionRules, SpaceInfo, SpaceOptions } from './engine/spaces/space-policy.ts';
export type { Transaction } from './engine/transactions/transaction.ts';
export type { TransactionFunction } from './engine/transactions/transactions.ts';
export type {
  BatchOperation,
  Bytes,
  Damage,
  DeleteRangeOptions,
  Entry,
  EntryStat,
  Health,
  Key,
  KeyEntry,
  PrefixEntry,
  PutOptions,
  PutResult,
  ReadOptions,
  ScanOptions,
  Stats,
  StreamOptions,
  TransactionOptions,
  UpdateFunction,
  UpdateOptions,
} from './engine/types.ts';
export type { BackupMode } from './format/backup-manifest.ts';
export type { IndexValue } from './format/index-key.ts';
export type { IndexField } from './format/index-rows.ts';
export type { UserMetadata } from './format/metadata.ts';
export type { Finding, FindingKind } from './integrity/findings.ts';
export type { RepairLoss, RepairProgress, RepairReport } from './integrity/repair-types.ts';
export type { VerifyLevel } from './integrity/verify-cursor.ts';
export type { VerifyProgress, VerifyReport } from './integrity/verify-types.ts';
export type { Durability } from './log/group-options.ts';
export type { Condition, FieldBounds } from './secondary/conditions.ts';
export type { IndexDefinition, IndexInfo, IndexStats } from './secondary/definition.ts';
export type {
  Recommendation,
  TuneOptions,
  TuneProgress,
  TuneReport,
  TuneResult,
  TuneSize,
  TuneSource,
} from './tune/tune-types.ts';
