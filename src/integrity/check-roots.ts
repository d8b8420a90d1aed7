/**
 * Checks what a store starts from: the slots of SUPER, the catalogs they name, and the log.
 *
 * A writer beside the check may install another set of files at any moment; what then looks like damage is
 * not. So whatever is found is believed only when SUPER names the same catalog afterwards.
 */
import type { Seq } from '../base/brands.ts';
import { corrupt, isDamage, isVarveError } from '../base/errors.ts';
import { isSuperseded, type LoadedCatalogs, loadCatalogs } from '../catalog/catalog-load.ts';
import type { Catalog } from '../format/catalog.ts';
import { filePath } from '../format/file-names.ts';
import { frameTypes, lastSeqOf } from '../format/log-frame.ts';
import { type OpVisitor, visitOps, visitStage } from '../format/log-ops.ts';
import { trees } from '../format/trees.ts';
import { parseValueRecord } from '../format/value-record.ts';
import type { FsPort } from '../fs/port.ts';
import { type LogChain, logOf, readLogChain } from '../log/log-chain.ts';
import { type FindingFields, Findings } from './findings.ts';

/** Reads that are repeated while a writer installs. */
const triesMax = 10;

/** What the check of the roots has read. */
export interface Roots {
  readonly loaded: LoadedCatalogs;
  /** Frames of the log that were read. */
  readonly frames: number;
  readonly bytes: number;
  readonly files: number;
}

/** A chunk frame that the log names: a CHUNK or MOVE op of a commit behind the checkpoint. */
export type OnNamed = (
  buf: Uint8Array,
  idAt: number,
  segment: number,
  off8: number,
  storedLen: number,
) => void;

export interface RootsCheck {
  readonly fs: FsPort;
  readonly findings: Findings;
  /** Frames above are not looked into: their commits are under way. */
  readonly seqMax: Seq;
  readonly onNamed: OnNamed;
}

/**
 * Checks SUPER, catalogs and log. VARVE_CORRUPT when no slot or no catalog is whole: nothing else can then be
 * checked. VARVE_IO, VARVE_FORMAT_VERSION.
 */
export async function checkRoots(check: RootsCheck): Promise<Roots> {
  for (let tries = 1; ; tries++) {
    const found = new Findings(() => undefined);
    const named: { id: Uint8Array; at: [number, number, number] }[] = [];
    let roots: Roots;
    try {
      roots = await readRoots({
        ...check,
        findings: found,
        onNamed: (buf, idAt, ...at) => named.push({ id: buf.slice(idAt, idAt + 32), at }),
      });
    } catch (error) {
      if (tries < triesMax && isVarveError(error)) continue;
      throw error;
    }
    const isSound = found.isEmpty || tries === triesMax || !(await isSuperseded(check.fs, roots.loaded.slot));
    if (!isSound) continue;
    check.findings.adopt(found);
    for (const { id, at } of named) check.onNamed(id, 0, ...at);
    return roots;
  }
}

async function readRoots(check: RootsCheck): Promise<Roots> {
  const { fs, findings } = check;
  const loaded = await loadCatalogs(fs);
  for (const problem of loaded.problems)
    findings.add(problem.file === 'SUPER' ? 'superblock' : 'catalog', problem);
  const { catalog } = loaded;
  const log = await checkLog(loaded, catalog, check);
  const before = loaded.previous?.catalog;
  // The catalog before needs more of the log, should this one be lost.
  if (before !== undefined && before.walFirstNo < catalog.walFirstNo) await checkLog(loaded, before, check);
  return { loaded, ...log, files: 2 + (before === undefined ? 0 : 1) };
}

/** The log as an open of the store with `from` as its catalog would read it. */
async function checkLog(
  { catalog, slot }: LoadedCatalogs,
  from: Catalog,
  check: RootsCheck,
): Promise<{ frames: number; bytes: number }> {
  const { fs, findings } = check;
  const chain = await readLogChain(fs, logOf(slot, from));
  try {
    for (const problem of chain.problems) findings.add('log', problem);
    for (const { error, missingFrom, missingTo } of chain.damage) {
      findings.add('log', error, lost(missingFrom, missingTo, catalog.checkpointSeq));
    }
    // One that holds nothing behind the checkpoint is missed by no open, and named all the same.
    const file = filePath('wal', from.walFirstNo);
    const isTold = from.walFirstNo === 0 || chain.damage.some(({ error }) => error.file === file);
    if (!isTold && (await fs.stat(file)) === null)
      findings.add('log', corrupt('log file is missing', { file }));
    const bytes = await checkFrames(chain, check, from === catalog ? catalog.checkpointSeq : undefined);
    return { frames: chain.frames.length, bytes };
  } finally {
    await chain.close();
  }
}

/** Numbers that are lost; what lies at or below the checkpoint is in tables. */
function lost(from: Seq, to: Seq | undefined, checkpointSeq: Seq): FindingFields {
  if (to !== undefined && to <= checkpointSeq) return {};
  return { sequences: { from: Math.max(from, checkpointSeq + 1), ...(to === undefined ? {} : { to }) } };
}

/**
 * Every frame again with its payload: that its ops are whole, and so are the records in them. Without
 * `checkpointSeq` nothing is lost with one, and what it names is of no account.
 */
async function checkFrames(
  chain: LogChain,
  { findings, seqMax, onNamed }: RootsCheck,
  checkpointSeq: Seq | undefined,
): Promise<number> {
  let bytes = 0;
  for (const frame of chain.frames) {
    if (frame.type !== frameTypes.batch && frame.type !== frameTypes.stage) continue;
    const place = { file: frame.path, offset: frame.offset };
    const last = lastSeqOf(frame);
    const visitor = recordsOf(
      place.file,
      checkpointSeq !== undefined && last > checkpointSeq && last <= seqMax ? onNamed : undefined,
    );
    try {
      const payload = await chain.readPayload(frame);
      bytes += payload.length;
      if (frame.type === frameTypes.stage)
        visitStage(payload, 0, payload.length, frame.seqFirst, visitor, place);
      else visitOps(payload, 0, payload.length, frame.seqFirst, frame.count, visitor, place);
    } catch (error) {
      if (!isDamage(error)) throw error;
      findings.add('log', error, lost(frame.seqFirst, last, checkpointSeq ?? last));
    }
  }
  return bytes;
}

const nothing = (): void => undefined;

function recordsOf(file: string, onNamed: OnNamed | undefined): OpVisitor {
  return {
    put: (tree, _seq, buf, _keyFrom, _keyTo, valueFrom, valueTo) => {
      if (tree === trees.K) parseValueRecord(buf, valueFrom, valueTo, { file });
    },
    del: nothing,
    chunk: (_seq, buf, idAt, segment, off8, storedLen) => onNamed?.(buf, idAt, segment, off8, storedLen),
    move: (_seq, buf, idAt, segment, off8, storedLen) => onNamed?.(buf, idAt, segment, off8, storedLen),
    trash: nothing,
    purge: nothing,
    listDrop: nothing,
    sys: nothing,
  };
}
