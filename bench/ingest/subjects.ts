/** What an ingest bench stores: directories of files, made anew in its workplace. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { MiB } from '../../src/base/limits.ts';
import { Prng } from '../../src/base/prng.ts';
import { edited } from '../../src/tune/edits.ts';
import { corpusTars } from '../tools/corpora.ts';

/** One directory of files. */
export interface Subject {
  readonly name: string;
  readonly what: string;
  /** Thousands of files: a durable put for each in turn would only measure the disk. */
  readonly small?: boolean;
  /** Fills `dir`, which is there and empty. */
  readonly make: (dir: string, sizes: Sizes) => void;
}

/** How much of what has no size of its own. */
export interface Sizes {
  readonly mib: number;
  readonly files: number;
}

const editedVersions = 6;
const editBytes = 64;
const filesInDirectory = 250;
const smallBytesMin = 64;
/** Sizes double so often, evenly spread: 64 B to 16 KiB, 3 KB in the mean. */
const smallDoublings = 8;

export const subjects: readonly Subject[] = [
  {
    name: 'new',
    what: 'a file of random bytes',
    make: (dir, { mib }) => writeFileSync(join(dir, 'random'), new Prng(1).bytes(mib * MiB)),
  },
  {
    name: 'similar',
    what: 'tars of 8 typescript releases',
    make: (dir) => {
      for (const path of corpusTars('typescript')) copyFileSync(path, join(dir, basename(path)));
    },
  },
  {
    name: 'edited',
    what: 'random bytes in 6 versions, each with an edit of 64 bytes in every MiB of the one before',
    make: (dir, { mib }) => {
      let bytes: Uint8Array = new Prng(2).bytes(Math.ceil((mib * MiB) / editedVersions));
      for (let version = 0; version < editedVersions; version++) {
        writeFileSync(join(dir, `version${version}`), bytes);
        bytes = edited(bytes, Math.ceil(bytes.length / MiB), editBytes, version);
      }
    },
  },
  {
    name: 'tree',
    what: 'two date-fns releases unpacked, thousands of small files',
    small: true,
    make: (dir) => {
      for (const path of corpusTars('date-fns').slice(-2)) {
        const target = join(dir, basename(path, '.tar'));
        mkdirSync(target);
        execFileSync('tar', ['-xf', path, '-C', target]);
      }
    },
  },
  {
    name: 'files',
    what: `files of 64 bytes to 16 KiB of random bytes, ${filesInDirectory} in a directory`,
    small: true,
    make: makeSmallFiles,
  },
];

function makeSmallFiles(dir: string, { files }: Sizes): void {
  const prng = new Prng(3);
  for (let n = 0; n < files; n++) {
    const parent = join(dir, `directory${Math.floor(n / filesInDirectory)}`);
    if (n % filesInDirectory === 0) mkdirSync(parent);
    const size = Math.floor(smallBytesMin * 2 ** ((prng.u32() / 2 ** 32) * smallDoublings));
    writeFileSync(join(parent, `file${n}`), prng.bytes(size));
  }
}
