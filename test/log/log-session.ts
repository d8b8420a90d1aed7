/** A small engine around the log: appends numbered frames, recovers, rotates; and the rules it must keep. */
import { expect } from 'vitest';
import { equalBytes } from '../../src/base/bytes.ts';
import { Prng } from '../../src/base/prng.ts';
import { FileSeed } from '../../src/codec/checksum.ts';
import { frameHeaderBytes, frameTypes, lastSeqOf } from '../../src/format/log-frame.ts';
import { durabilityCodes } from '../../src/format/log-ops.ts';
import type { FsPort } from '../../src/fs/port.ts';
import { type LogChain, readLogChain } from '../../src/log/log-chain.ts';
import { LogWriter } from '../../src/log/log-writer.ts';

export const dbUuid: Uint8Array = new Uint8Array(16).fill(7);

/** Payload of the frame that begins at `seq`: derived from the number, so that a reader can check it. */
export function payloadOf(seq: number, length = 20 + (seq % 13)): Uint8Array {
  return new Prng(seq).bytes(length);
}

export const fileSeedOf = (salt: Uint8Array): FileSeed => new FileSeed(salt);

export function readChainOf(
  fs: FsPort,
  more: { walFirstNo?: number; checkpointSeq?: number; closedEpoch?: number } = {},
): Promise<LogChain> {
  return readLogChain(fs, { dbUuid, walFirstNo: 0, catalogNo: 0, checkpointSeq: 0, ...more });
}

export class LogSession {
  readonly fs: FsPort;
  log: LogWriter;
  durableSeq: number;
  /** Highest number acknowledged. */
  acked: number;
  #no: number;

  private constructor(fs: FsPort, log: LogWriter, no: number) {
    this.fs = fs;
    this.log = log;
    this.#no = no;
    this.durableSeq = log.lastSeq;
    this.acked = log.lastSeq;
  }

  /** Recovery: reads the chain, checks every frame, writes the new log. */
  static async open(fs: FsPort, checkpointSeq = 0): Promise<LogSession> {
    const chain = await readChainOf(fs, { checkpointSeq });
    expect(chain.damage).toEqual([]);
    await checkFrames(chain, checkpointSeq);
    const no = chain.highestNo + 1;
    const resume = chain.resume();
    const { prevFileNo, prevEndOffset, prevLastSeq, lastSeq } = resume;
    const log = await LogWriter.create(fs, {
      no,
      dbUuid,
      salt: new Prng(no * 1000 + lastSeq).bytes(12),
      tail: chain.tail(resume.tailFrom, resume.tailTo),
      open: {
        prevFileNo,
        prevEndOffset,
        prevLastSeq,
        firstSeq: prevLastSeq + 1,
        writerEpoch: no,
        timelineId: 1,
        durability: durabilityCodes.full,
      },
      openSeq: lastSeq + 1,
      commitTimeMs: 1000 + lastSeq,
      durableSeq: lastSeq,
    });
    await chain.close();
    return new LogSession(fs, log, no);
  }

  /** Appends a frame without syncing it. Returns its last number. */
  async append(count = 1, length?: number): Promise<number> {
    const seqFirst = this.log.lastSeq + 1;
    const payload = payloadOf(seqFirst, length);
    const buf = new Uint8Array(frameHeaderBytes + payload.length + 8);
    buf.set(payload, frameHeaderBytes);
    const header = {
      type: frameTypes.batch,
      seqFirst,
      count,
      commitTimeMs: 1000 + seqFirst,
      durableSeq: this.durableSeq,
    };
    await this.log.append(buf, payload.length, header);
    return lastSeqOf(header);
  }

  /** Everything appended is on disk and acknowledged. */
  async sync(): Promise<void> {
    const { lastSeq } = this.log;
    await this.log.dataSync();
    this.durableSeq = lastSeq;
    this.acked = lastSeq;
  }

  async rotate(): Promise<void> {
    await this.sync();
    const { lastSeq } = this.log;
    this.#no++;
    const log = await LogWriter.create(this.fs, {
      no: this.#no,
      dbUuid,
      salt: new Prng(this.#no * 1000 + lastSeq).bytes(12),
      open: {
        prevFileNo: this.log.no,
        prevEndOffset: this.log.end,
        prevLastSeq: lastSeq,
        firstSeq: lastSeq + 1,
        writerEpoch: this.#no,
        timelineId: 1,
        durability: 0,
      },
      openSeq: lastSeq + 1,
      commitTimeMs: 1000 + lastSeq,
      durableSeq: lastSeq,
    });
    await this.log.close();
    this.log = log;
  }
}

/** Frames rise without overlap and hold what was written under their numbers. Returns all numbers. */
export async function checkFrames(chain: LogChain, checkpointSeq = 0): Promise<Set<number>> {
  const seen = new Set<number>();
  let last = checkpointSeq;
  for (const frame of chain.frames) {
    expect(frame.seqFirst).toBeGreaterThan(last);
    last = lastSeqOf(frame);
    for (let seq = frame.seqFirst; seq <= last; seq++) seen.add(seq);
    if (frame.type !== frameTypes.batch) continue;
    const payload = await chain.readPayload(frame);
    expect(
      equalBytes(payload, payloadOf(frame.seqFirst, payload.length)),
      `payload of ${frame.seqFirst}`,
    ).toBe(true);
  }
  return seen;
}
