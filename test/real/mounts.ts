/**
 * Mounts for campaigns: made by commands, undone whatever happens. Needs root; `missing` says what is not
 * there.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';

/** Debian package of each command that is not part of every system. */
const packages: Readonly<Record<string, string>> = {
  mount: 'mount',
  'mkfs.ext4': 'e2fsprogs',
  'mkfs.xfs': 'xfsprogs',
  'mkfs.btrfs': 'btrfs-progs',
  xfs_io: 'xfsprogs',
  strace: 'strace',
  prlimit: 'util-linux',
  nbdkit: 'nbdkit and nbdkit-plugin-python',
  nbdfuse: 'libnbd-bin',
};

/** What is missing of `needs` ('root' or a command) and how to get it; undefined when all is there. */
export function missing(...needs: readonly string[]): string | undefined {
  const searched = process.env.PATH ?? '';
  // Tools for root are often not in the search path; an empty one means no tools.
  const folders = searched === '' ? [] : [...searched.split(':'), '/usr/sbin', '/sbin'];
  for (const need of needs) {
    if (need === 'root') {
      if (process.getuid?.() !== 0) return 'run as root';
      if (process.platform !== 'linux') return 'run on Linux';
    } else if (!folders.some((folder) => existsSync(path.join(folder, need))))
      return `${need} is not installed: apt-get install ${packages[need] ?? need}`;
  }
  return undefined;
}

/** Runs a command; its standard error is part of the message when it fails. */
export function command(name: string, ...args: readonly string[]): string {
  const env = { ...process.env, PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin` };
  return execFileSync(name, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], env });
}

const unmountTries = 40;

export class Mounts {
  readonly #at: string[] = [];
  readonly #onExit = (): void => this.removeAll();

  constructor() {
    process.once('exit', this.#onExit);
  }

  bind(from: string, at: string): void {
    command('mount', '--bind', from, at);
    this.#at.push(at);
  }

  tmpfs(at: string, bytes: number, inodes = 1000): void {
    command('mount', '-t', 'tmpfs', '-o', `size=${bytes},nr_inodes=${inodes}`, 'varve-test', at);
    this.#at.push(at);
  }

  /** Mounts a file or block device that holds a file system. */
  loop(image: string, at: string): void {
    command('mount', '-o', 'loop', image, at);
    this.#at.push(at);
  }

  /** Unmounts; where something still uses it after a while, at least detaches it and throws. */
  remove(at: string): void {
    const found = this.#at.lastIndexOf(at);
    if (found === -1) return;
    this.#at.splice(found, 1);
    for (let tries = 0; tries < unmountTries; tries++) {
      if (spawnSync('umount', [at]).status === 0) return;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
    }
    command('umount', '-l', at);
    throw new Error(`${at} was still in use`);
  }

  /** Unmounts everything, the newest first; throws the first failure after trying all. */
  removeAll(): void {
    process.removeListener('exit', this.#onExit);
    let first: unknown;
    for (const at of this.#at.slice().reverse()) {
      try {
        this.remove(at);
      } catch (error) {
        first ??= error;
      }
    }
    if (first !== undefined) throw first;
  }
}
