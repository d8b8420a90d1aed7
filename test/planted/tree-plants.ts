/** Faults of trees and tables, decoders, readers, locks and real files. */
import { crash, damage, diskFull, fuzz, locks, type Plant, plant, sim, syscalls } from './plant.ts';

export const treePlants: readonly Plant[] = [
  plant(
    'oldest table first',
    'a lookup asks the oldest table first',
    'tree/table-order.ts',
    ['b.meta.no - a.meta.no', 'a.meta.no - b.meta.no'],
    crash(20_000),
    sim(100),
  ),
  plant(
    'keys missing in the filter',
    'one in sixteen keys of a table is not in its filter',
    'tree/table-writer.ts',
    ['this.#hashes[this.count - 1] === hash', '(this.#hashes[this.count - 1]! & 15) === (hash & 15)'],
    crash(20_000),
    sim(100),
  ),
  plant(
    'tombstone dropped while flushing',
    'a delete in a memtable on its way to disk does not hide older rows',
    'tree/key-tree.ts',
    [
      `    out.seq = memtable.entrySeq(handle);
    return true;`,
      `    out.seq = memtable.entrySeq(handle);
    return memtable === this.#active || out.kind !== rowKinds.delete;`,
    ],
    sim(300),
    crash(20_000),
  ),
  plant(
    'end of a block is the end of the table',
    'a scan that starts behind the last key of a block ends there',
    'tree/table-cursor.ts',
    [
      'if (!searchDataBlock(block, key, key.length, this.#spot)) return this.#standFirst(number + 1);',
      'if (!searchDataBlock(block, key, key.length, this.#spot)) return this.#leave();',
    ],
    sim(300),
    crash(20_000),
  ),
  plant(
    'block checksum not checked',
    'blocks of tables are used as they are read',
    'format/table.ts',
    [
      `  if (!checksumMatches(buf, checksumAt, 0, checksumAt, seed.at(offset))) {
    throw corrupt('block fails its checksum', place);
  }\n`,
      '',
    ],
    damage(3000),
    fuzz(1_000_000),
  ),
  plant(
    'lost table forgotten',
    'a key whose newest row may lie in a damaged table gives an older one',
    'tree/lost-tables.ts',
    ['      if (maxSeq <= foundSeq || minSeq > seqMax) continue;', '      if (minSeq <= seqMax) continue;'],
    damage(6000),
  ),
  plant(
    'damaged chunks are hits',
    'a put of the same bytes relies on a segment in which damage was met',
    'chunk/chunk-store.ts',
    [' && !this.#distrusted.has(segment)', ''],
    damage(20_000),
  ),
  plant(
    'reader does not look again',
    'a reader takes files that a writer has just replaced for damage',
    'engine/opening/open.ts',
    ['      if (!(await hasChanged(env, generation))) throw error;', '      throw error;'],
    crash(20_000),
    sim(300),
  ),
  plant(
    'list node not bounded',
    'ends of list entries may lie outside of the node',
    'format/list-node.ts',
    ['end <= last || end > totalBytes || (level', 'end > totalBytes || (level'],
    fuzz(3_000_000),
  ),
  {
    name: 'live owner taken for dead',
    what: 'the guard of the lock is not exclusive, and a living owner counts as dead',
    edits: [
      {
        file: 'src/fs/lock-guard.ts',
        find: 'platform: string = process.platform): GuardAddress {\n',
        replace: `platform: string = process.platform): GuardAddress {
  store = { ...store, ino: process.pid };\n`,
      },
      {
        file: 'src/fs/lock-judge.ts',
        find: "return facts.lives(owner.pid, owner.processStart) ? 'alive' : 'stale';",
        replace: "return 'stale';",
      },
    ],
    hunts: [locks(40)],
  },
  {
    name: 'short write taken for a whole one',
    what: 'a write to a real file that took a part of its bytes is not gone on with',
    edits: [
      {
        file: 'src/fs/raw-fs.ts',
        find: '    put += n;\n  }\n}\n\nexport function writeFdSync',
        replace: '    put = buf.length;\n  }\n}\n\nexport function writeFdSync',
      },
      {
        file: 'src/fs/raw-fs.ts',
        find: '    put += n;\n  }\n}\n\nexport function syncFd',
        replace: '    put = buf.length;\n  }\n}\n\nexport function syncFd',
      },
    ],
    hunts: [diskFull(400), syscalls(60)],
  },
];
