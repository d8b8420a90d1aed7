/** Faults of group commit, log, recovery and of what happens after a failed write or sync. */
import { crash, damage, type Plant, plant, sim } from './plant.ts';

export const logPlants: readonly Plant[] = [
  plant(
    'ack before fsync',
    'commits are acknowledged while their sync is under way',
    'log/group-commit.ts',
    [
      `      await this.#log!.dataSync();
      this.counters.syncs++;
    }`,
      `      this.#log!.dataSync().catch((error: unknown) => this.fail(error));
      this.counters.syncs++;
    }`,
    ],
    sim(100),
    crash(20_000),
  ),
  plant(
    'whole queue acked',
    'a sync acknowledges groups that joined after it began',
    'log/group-commit.ts',
    [
      '    this.#publish(groups);\n',
      `    this.#publish(groups);
    for (const item of this.#queue) if (!('next' in item)) item.done.resolve();\n`,
    ],
    sim(100),
    crash(20_000),
  ),
  plant(
    'durableSeq ahead',
    'a frame says that the one before it is on disk, which one sync makes durable with it',
    'log/group-commit.ts',
    ['      durableSeq: this.#durableSeq,', '      durableSeq: group.firstSeq - 1,'],
    crash(20_000),
    sim(100),
  ),
  plant(
    'durable is what was visible at the end',
    'in `os` and group mode a sync counts for commits written while it was under way',
    'log/group-commit.ts',
    ['Math.max(this.#durableSeq, upTo)', 'Math.max(upTo, this.#visibleSeq)'],
    crash(20_000),
    sim(150),
  ),
  plant(
    'frame before its chunks',
    'a log frame is written before the chunks it names are synced',
    'log/group-commit.ts',
    [
      `    await this.#makeFilesReady(groups);
    for (const group of groups) await this.#append(group);`,
      `    for (const group of groups) await this.#append(group);
    await this.#makeFilesReady(groups);`,
    ],
    crash(20_000),
    sim(100),
  ),
  plant(
    'stage names unsynced chunks',
    'a STAGE frame does not wait for the chunks it names',
    'log/group-commit.ts',
    ['    for (const file of files) group.files.add(file);\n', ''],
    crash(20_000),
    sim(150),
  ),
  plant(
    'failed group sync swallowed',
    'in group mode a failed sync in the background is forgotten, and the next one taken for good',
    'log/group-commit.ts',
    [
      '      if (isDue) await this.#syncAll();',
      '      if (isDue) await this.#syncs.run(() => this.#syncOnce().catch(() => undefined));',
    ],
    crash(20_000),
    sim(300),
  ),
  plant(
    'torn batch',
    'a batch is written as two frames',
    'txn/txn-writer.ts',
    [
      '    const old = ops.map((op, i) => checkedRow(op, looked?.[i] ?? this.#newest(op.prefix)));\n',
      `    if (ops.length > 1) {
      const head = this.commit(ops.slice(0, 1), named, sys);
      // A group of its own for the rest.
      this.#log.group(2 ** 40);
      if (head === undefined) return this.commit(ops.slice(1), named, sys);
      return this.commit(ops.slice(1), [], []) ?? head;
    }
    const old = ops.map((op, i) => checkedRow(op, looked?.[i] ?? this.#newest(op.prefix)));\n`,
    ],
    crash(20_000),
    sim(100),
  ),
  plant(
    'half a batch replayed',
    'recovery leaves the deletes of the last frame of the log out',
    'engine/opening/recovery.ts',
    [
      '    visitFrame(frame, payload, applier);',
      `    const isLast = frames === chain.frames.length - 1;
    const visitor = Object.create(applier, isLast ? { del: { value: () => undefined } } : {});
    for (const op of ['put', 'del', 'chunk', 'move', 'trash', 'sys']) {
      if (isLast && op === 'del') continue;
      Object.defineProperty(visitor, op, { value: applier[op].bind(applier) });
    }
    visitFrame(frame, payload, visitor);`,
    ],
    crash(20_000),
    sim(150),
  ),
  plant(
    'retry of a failed fsync',
    'a sync of the log that failed is tried again, and the second answer believed',
    'log/log-writer.ts',
    [
      `    try {
      await this.#file.dataSync();
    } catch (error) {
      throw this.#fail(error);
    }`,
      '    await this.#file.dataSync().catch(() => this.#file.dataSync());',
    ],
    crash(20_000),
    sim(300),
  ),
  plant(
    'new log without its name',
    'the directory is not synced after a log file was made',
    'log/log-writer.ts',
    ["      await fs.syncDir(fileDir('wal', log.no));\n", ''],
    crash(20_000),
    sim(100),
  ),
  plant(
    'OPEN before the repeated frames',
    'a new log counts before the frames it repeats are synced',
    'log/log-writer.ts',
    [
      `    end = await writeTail(file, log, seed);
    await file.sync();`,
      '    end = await writeTail(file, log, seed);',
    ],
    crash(20_000),
    sim(300),
  ),
  plant(
    'log checksum not checked',
    'a frame of the log is taken as it is found',
    'format/log-frame.ts',
    [
      `  if (!checksumMatches(buf, at + logFrame.at.checksum, from, payloadTo, fileSeed.at(fileOffset)))
    return bad('checksum');\n`,
      '',
    ],
    damage(3000),
    crash(20_000),
  ),
  plant(
    'frames behind a torn one',
    'recovery goes on behind the torn tail, over a hole in the numbers',
    'log/log-chain-scan.ts',
    ['        this.#frames.truncate(hole.index);\n', ''],
    crash(20_000),
    sim(200),
  ),
  {
    name: 'checkpoint replayed',
    what: 'the last frame below the checkpoint is applied once more, so its references count twice',
    edits: [
      {
        file: 'src/log/log-chain-scan.ts',
        find: '    if (lastSeq <= this.#options.checkpointSeq) {',
        replace: '    if (lastSeq < this.#options.checkpointSeq) {',
      },
      {
        file: 'src/log/log-chain-scan.ts',
        find: '    if (first < this.#expected) {',
        replace: '    if (first < this.#expected - 1) {',
      },
    ],
    hunts: [crash(20_000), sim(150)],
  },
  plant(
    'cut tail copied forward',
    'frames that recovery has cut off are repeated in the new log',
    'engine/opening/first-log.ts',
    ['chain.resume(replayed.frames)', 'chain.resume()'],
    crash(20_000),
    sim(300),
  ),
  plant(
    'unproven frames not repeated',
    'recovery leaves frames in the old log whose sync nothing proves',
    'engine/opening/first-log.ts',
    ['chain.tail(tailFrom, tailTo)', 'chain.tail(tailTo, tailTo)'],
    crash(20_000),
    sim(300),
  ),
  plant(
    'rescued chunks at their old places',
    'frames repeated in the new log name chunks in segments that the killed process never synced',
    'engine/opening/first-log.ts',
    ['repeatedFrames(chain.tail(tailFrom, tailTo), moved)', 'chain.tail(tailFrom, tailTo)'],
    crash(40_000),
  ),
  plant(
    'fallback ignores the log',
    'with an older catalog the log is still read from the checkpoint of the newest one',
    'engine/opening/finding.ts',
    ['    logOf(slot, catalog),', '    { ...logOf(slot, catalog), checkpointSeq: slot.checkpointSeq },'],
    damage(6000),
    crash(20_000),
  ),
];
