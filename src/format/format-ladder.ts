/**
 * The format versions and feature flags this build knows. Docs and every reader of flags use these tables;
 * a flag is never given a second meaning.
 */
import { type Place, VarveError } from '../base/errors.ts';
import { formatVersion } from './file-header.ts';

/** One rung: a format this build reads. */
export interface FormatRung {
  /** major << 8 | minor. */
  readonly version: number;
  readonly label: string;
  /** What a store of this version holds that the one before it does not. */
  readonly summary: string;
}

/** Oldest first; the last one is written. */
export const formatLadder: readonly FormatRung[] = [
  { version: formatVersion, label: '1.0', summary: 'superblock, catalogs, log, segments, tables' },
];

/** One feature bit. */
export interface FeatureFlag {
  readonly bit: number;
  readonly name: string;
  readonly summary: string;
}

/** Features a reader must know: any other bit refuses the store. */
export const incompatFeatures: readonly FeatureFlag[] = [];
/** Features a writer must know: any other bit allows reading only. */
export const roCompatFeatures: readonly FeatureFlag[] = [];
/** Features of a catalog's contents: any other bit refuses the catalog. */
export const catalogFeatures: readonly FeatureFlag[] = [
  { bit: 1, name: 'ranges', summary: 'range deletes: range rows in the system tree, late DELETE rows' },
  { bit: 2, name: 'purges', summary: 'reclaimed versions: GONE rows, log ops PURGE and LISTDROP' },
  { bit: 4, name: 'expiry', summary: 'values that expire: expiry rows in the system tree' },
  { bit: 8, name: 'history', summary: 'policies and named snapshots: what they keep must not be dropped' },
  {
    bit: 16,
    name: 'indexes',
    summary: 'secondary indexes: definitions in the system tree, entries in tree X',
  },
  { bit: 32, name: 'schedules', summary: 'schedules of backups and their last runs, in the system tree' },
  { bit: 64, name: 'rules', summary: 'retention and quotas of spaces: rows with what is kept and counted' },
];
/** The bit that schedules of backups need. */
export const schedulesFeature = 32;
/** The bit that retention and quotas of spaces need. */
export const rulesFeature = 64;
/** The bit that secondary indexes need. */
export const indexesFeature = 16;
/** The bit of `catalogFeatures` that range deletes need. */
export const rangesFeature = 1;
/** The bit that purged versions and dropped list nodes need. */
export const purgesFeature = 2;
/** The bit that values with an expiry need. */
export const expiryFeature = 4;
/** The bit that policies and named snapshots need. */
export const historyFeature = 8;

/** Bits of `flags` that are not in `known`. */
export function unknownFlags(flags: number, known: readonly FeatureFlag[]): number {
  let mask = 0;
  for (const flag of known) mask |= flag.bit;
  return (flags & ~mask) >>> 0;
}

/** `1.0` for 0x0100. */
export function versionLabel(version: number): string {
  return `${version >> 8}.${version & 255}`;
}

/** True when structures of `version` can be read: the major number is one of the ladder's. */
export function knowsVersion(version: number): boolean {
  return formatLadder.some((rung) => rung.version >> 8 === version >> 8);
}

/** VARVE_FORMAT_VERSION at `place`. */
export function newerFormat(what: string, place: Place): VarveError {
  return new VarveError(
    'VARVE_FORMAT_VERSION',
    `${place.file}: ${what}; a newer version of varve is needed`,
    {
      file: place.file,
      ...(place.offset === undefined ? {} : { offset: place.offset }),
    },
  );
}
