/**
 * Which log files there are and how they chain. Only the first 168 bytes of each are read.
 *
 * A file without a valid OPEN frame was being made when the process died and counts as never made, unless
 * something shows that its OPEN frame was once whole: a later OPEN chains to it, or its place holds two of
 * the three marks of an OPEN frame. Then the frame is damaged, and what follows it is still read.
 */
import type { FileNo, Seq } from '../base/brands.ts';
import { viewOf } from '../base/bytes.ts';
import type { VarveError } from '../base/errors.ts';
import type { FileSeed } from '../codec/checksum.ts';
import { fileHeader } from '../format/file-header.ts';
import { filePath, parseFileName } from '../format/file-names.ts';
import { frameTypes, logFrame, logMagic, readFrame } from '../format/log-frame.ts';
import { type OpenFields, openPayload } from '../format/log-ops.ts';
import { hasErrno } from '../fs/dirs.ts';
import type { FsEntry, FsPort } from '../fs/port.ts';
import { checkHeader, decodeOpen, firstFrameOffset, scanLog, secondFrameOffset } from './log-reader.ts';

export interface LogFile {
  readonly no: FileNo;
  readonly path: string;
  readonly size: number;
  /** Undefined when the header is unusable. */
  readonly seed: FileSeed | undefined;
  readonly headerError: VarveError | undefined;
  readonly open: OpenFields | undefined;
  /** Number of the OPEN frame; 0 without one. */
  readonly openSeq: Seq;
  readonly openDurableSeq: Seq;
  /** Something shows that an OPEN frame was written here. */
  readonly wasOpened: boolean;
}

/**
 * Log files by rising number, those from `firstNo` on: older ones are only kept for change feeds.
 * VARVE_FORMAT_VERSION when one of them is of a newer format.
 */
export async function listLogFiles(fs: FsPort, dbUuid: Uint8Array, firstNo: FileNo = 0): Promise<LogFile[]> {
  const files: LogFile[] = [];
  for (const entry of await listOrNone(fs)) {
    const name = parseFileName(entry.name);
    if (name !== null && name.kind === 'wal' && entry.kind === 'file' && name.no >= firstNo)
      files.push(await peek(fs, name.no, dbUuid));
  }
  return files.sort((a, b) => a.no - b.no);
}

async function listOrNone(fs: FsPort): Promise<FsEntry[]> {
  try {
    return await fs.list('wal');
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return [];
    throw error;
  }
}

async function peek(fs: FsPort, no: FileNo, dbUuid: Uint8Array): Promise<LogFile> {
  const path = filePath('wal', no);
  const file = await fs.open(path, 'read');
  try {
    const buf = new Uint8Array(secondFrameOffset);
    const got = await file.read(buf, 0);
    const size = await file.size();
    const header = checkHeader(buf.subarray(0, Math.min(got, fileHeader.size)), { no, dbUuid }, path);
    const common = { no, path, size, seed: header.seed, headerError: header.error };
    const verdict =
      header.seed === undefined
        ? undefined
        : readFrame(buf, firstFrameOffset, got, header.seed, firstFrameOffset);
    if (verdict?.ok === true && verdict.type === frameTypes.open) {
      const payload = buf.subarray(verdict.payloadFrom, verdict.payloadTo);
      const open = decodeOpen(payload, { file: path, offset: verdict.payloadFrom });
      const { seqFirst: openSeq, durableSeq: openDurableSeq } = verdict;
      return { ...common, open, openSeq, openDurableSeq, wasOpened: true };
    }
    return { ...common, open: undefined, openSeq: 0, openDurableSeq: 0, wasOpened: showsOpen(buf, got) };
  } finally {
    await file.close();
  }
}

/**
 * One flipped bit leaves two of the three marks; a file in the making has none: its OPEN comes last. A file
 * that ends within OPEN was never made, whatever it shows: nothing was written behind it.
 */
function showsOpen(buf: Uint8Array, got: number): boolean {
  if (got < secondFrameOffset) return false;
  const view = viewOf(buf);
  let marks = 0;
  if (view.getUint32(firstFrameOffset + logFrame.at.magic, true) === logMagic) marks++;
  if (view.getUint32(firstFrameOffset + logFrame.at.payloadLen, true) === openPayload.size) marks++;
  if (buf[firstFrameOffset + logFrame.at.type] === frameTypes.open) marks++;
  return marks >= 2;
}

/** A file of the chain, with what the next one says of it. */
export interface Link {
  readonly file: LogFile;
  /** Where replay stops; undefined when no OPEN says so. */
  readonly end: number | undefined;
  /** Numbers above belong to later files. */
  readonly seqMax: Seq;
  /** The file this one follows is not there. */
  readonly missing: FileNo | undefined;
}

/**
 * The chain that ends in the newest file, oldest first, back to the file that begins at or below
 * `checkpointSeq + 1`. Empty when there is no log.
 */
export async function linkLogFiles(
  fs: FsPort,
  files: readonly LogFile[],
  checkpointSeq: Seq,
): Promise<Link[]> {
  const chain: Link[] = [];
  let next: LogFile | undefined = files.findLast((file) => file.wasOpened);
  let end: number | undefined;
  let seqMax = Number.MAX_SAFE_INTEGER;
  while (next !== undefined) {
    const file: LogFile = next;
    const { open } = file;
    const done = open !== undefined && open.prevLastSeq <= checkpointSeq;
    const named: LogFile | undefined =
      open === undefined || open.prevFileNo >= file.no
        ? undefined
        : files.find((other) => other.no === open.prevFileNo);
    const missing =
      open === undefined || done || named !== undefined ? undefined : open.prevFileNo || undefined;
    chain.unshift({ file, end, seqMax, missing });
    if (done) break;
    seqMax = open === undefined ? Math.min(seqMax, (await firstNumberIn(fs, file)) - 1) : open.prevLastSeq;
    end = named === undefined ? undefined : open?.prevEndOffset;
    next = named ?? files.findLast((other) => other.no < file.no && other.wasOpened);
  }
  return chain;
}

/** First number of any valid frame in a file whose OPEN is damaged. */
async function firstNumberIn(fs: FsPort, file: LogFile): Promise<number> {
  for await (const item of scanLog(fs, file.path, { no: file.no }))
    if (item.kind === 'frame') return item.frame.seqFirst;
  return Number.MAX_SAFE_INTEGER;
}
