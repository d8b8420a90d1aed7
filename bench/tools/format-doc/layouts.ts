/** Every fixed record of the format as a Markdown table. */
import type { FieldSpec, Layout } from '../../../src/codec/layout.ts';
import * as backupManifest from '../../../src/format/backup-manifest.ts';
import * as catalog from '../../../src/format/catalog.ts';
import * as chunkFrame from '../../../src/format/chunk-frame.ts';
import * as chunkRefBytes from '../../../src/format/chunk-ref-bytes.ts';
import * as chunkTable from '../../../src/format/chunk-table.ts';
import * as fileHeader from '../../../src/format/file-header.ts';
import * as historyRows from '../../../src/format/history-rows.ts';
import * as indexRows from '../../../src/format/index-rows.ts';
import * as keyTreeNode from '../../../src/format/key-tree-node.ts';
import * as lease from '../../../src/format/lease.ts';
import * as listNode from '../../../src/format/list-node.ts';
import * as logFrame from '../../../src/format/log-frame.ts';
import * as logOps from '../../../src/format/log-ops.ts';
import * as scheduleRows from '../../../src/format/schedule-rows.ts';
import * as segment from '../../../src/format/segment.ts';
import * as spaceRules from '../../../src/format/space-rules.ts';
import * as superblock from '../../../src/format/superblock.ts';
import * as systemRows from '../../../src/format/system-rows.ts';
import * as table from '../../../src/format/table.ts';
import * as valueRecord from '../../../src/format/value-record.ts';
import * as vaultArchive from '../../../src/format/vault-archive.ts';
import * as vaultIndex from '../../../src/format/vault-index.ts';
import * as vaultRecords from '../../../src/format/vault-records.ts';

const modules: readonly object[] = [
  superblock,
  fileHeader,
  lease,
  catalog,
  logFrame,
  logOps,
  segment,
  chunkFrame,
  chunkRefBytes,
  listNode,
  valueRecord,
  spaceRules,
  systemRows,
  historyRows,
  scheduleRows,
  indexRows,
  table,
  chunkTable,
  vaultRecords,
  vaultIndex,
  keyTreeNode,
  backupManifest,
  vaultArchive,
];

/** Layouts by name. */
export const layouts: ReadonlyMap<string, Layout> = new Map(
  modules.flatMap((module) => Object.values(module).filter(isLayout)).map((layout) => [layout.name, layout]),
);

function isLayout(value: unknown): value is Layout {
  return typeof value === 'object' && value !== null && 'fields' in value && 'title' in value;
}

/** Table of one layout: offset, size, type, name and meaning of each field. */
export function layoutTable(layout: Layout): string {
  const rows = Object.entries(layout.fields).map(
    ([name, spec]) =>
      `| ${spec.offset} | ${spec.size} | ${typeText(spec)} | \`${name}\` | ${cell(spec.doc)} |`,
  );
  const title = `${layout.title[0]!.toUpperCase()}${layout.title.slice(1)}`;
  return [
    `**${title}**, ${layout.size} bytes:`,
    '',
    '| Offset | Size | Type | Name | Meaning |',
    '|---:|---:|---|---|---|',
    ...rows,
  ].join('\n');
}

function typeText({ type }: FieldSpec): string {
  return type === 'hash64' ? 'u64' : type;
}

const cell = (text: string): string => text.replaceAll('|', '\\|');
