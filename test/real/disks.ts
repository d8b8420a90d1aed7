/** File systems on loop devices whose power can be cut. */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import type { Prng } from '../../src/base/prng.ts';
import { LossyDevice } from './lossy-device.ts';
import { command, type Mounts, missing } from './mounts.ts';

/** The file system itself does not mount after a fault: this says nothing about the store on it. */
export class FileSystemLost extends Error {}

function mountAgain(mounts: Mounts, image: string, at: string): void {
  try {
    mounts.loop(image, at);
  } catch (error) {
    throw new FileSystemLost((error as Error).message, { cause: error });
  }
}

/** A disk that forgets what was not flushed when its power is cut. */
export interface CuttableDisk {
  readonly name: string;
  /** Where it is mounted. */
  readonly at: string;
  /** A sync under way at the cut may answer with success although nothing of it is kept. */
  readonly lies: boolean;
  /** Cuts the power; everything fails from now on. */
  cut(): void;
  /** Mounts it again, with what survived; throws FileSystemLost when that is impossible. */
  restore(): void;
  dispose(): void;
  /** Refuses `count` writes with EIO after `passes` more; only devices under our control can. */
  refuseWrites?(count: number, passes: number): void;
}

export const fileSystems = ['ext4', 'xfs', 'btrfs'] as const;
export type FileSystemName = (typeof fileSystems)[number];

// xfs refuses less than 300 MiB. The image is sparse.
const imageBytes = 400 * 1024 * 1024;

function format(fsName: FileSystemName, image: string): void {
  if (fsName === 'ext4') command('mkfs.ext4', '-q', '-F', image);
  else command(`mkfs.${fsName}`, '-q', '-f', image);
}

/** What is missing for the kernel's own shutdown, which works on ext4 and xfs. */
export function missingForShutdown(fsName: FileSystemName): string | undefined {
  return missing('root', 'mount', `mkfs.${fsName}`, 'xfs_io');
}

/** What is missing for a block device that drops sectors. */
export function missingForDevice(fsName: FileSystemName): string | undefined {
  return missing('root', 'mount', `mkfs.${fsName}`, 'nbdkit', 'nbdfuse');
}

/**
 * Cut by the kernel: the journal is not flushed and nothing reaches the disk any more. The kernel does this
 * beside the calls under way, and a few of their syncs come back with success. No power cut can do that.
 */
export class ShutdownDisk implements CuttableDisk {
  readonly lies = true;
  readonly name: string;
  readonly at: string;
  readonly #image: string;
  readonly #mounts: Mounts;

  constructor(fsName: FileSystemName, dir: string, mounts: Mounts) {
    this.name = fsName;
    this.#mounts = mounts;
    this.#image = path.join(dir, `${fsName}.img`);
    this.at = path.join(dir, fsName);
    mkdirSync(this.at);
    command('truncate', '-s', String(imageBytes), this.#image);
    format(fsName, this.#image);
    mounts.loop(this.#image, this.at);
  }

  cut(): void {
    command('xfs_io', '-x', '-c', 'shutdown', this.at);
  }

  restore(): void {
    this.#mounts.remove(this.at);
    mountAgain(this.#mounts, this.#image, this.at);
  }

  dispose(): void {
    this.#mounts.remove(this.at);
    command('rm', '-f', this.#image);
  }
}

/**
 * On a block device of ours that drops, at a cut, a random half of the sectors written since its last flush.
 */
export class DroppingDisk implements CuttableDisk {
  readonly lies = false;
  readonly name: string;
  readonly at: string;
  readonly #device: LossyDevice;
  readonly #mounts: Mounts;

  private constructor(fsName: FileSystemName, dir: string, device: LossyDevice, mounts: Mounts) {
    this.name = `${fsName} dropping sectors`;
    this.#device = device;
    this.#mounts = mounts;
    this.at = path.join(dir, `${fsName}-dropping`);
    mkdirSync(this.at);
    format(fsName, device.path);
    mounts.loop(device.path, this.at);
  }

  static async make(fsName: FileSystemName, dir: string, mounts: Mounts, prng: Prng): Promise<DroppingDisk> {
    const device = await LossyDevice.start(path.join(dir, `${fsName}-device`), imageBytes, prng.u32());
    try {
      return new DroppingDisk(fsName, dir, device, mounts);
    } catch (error) {
      device.stop();
      throw error;
    }
  }

  cut(): void {
    this.#device.cut();
  }

  restore(): void {
    this.#mounts.remove(this.at);
    this.#device.powerOn();
    mountAgain(this.#mounts, this.#device.path, this.at);
  }

  refuseWrites(count: number, passes: number): void {
    this.#device.refuseWrites(count, passes);
  }

  dispose(): void {
    this.#device.powerOn();
    try {
      this.#mounts.remove(this.at);
    } finally {
      this.#device.stop();
    }
  }
}
