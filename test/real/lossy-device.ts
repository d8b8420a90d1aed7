/**
 * A block device in user space (nbdkit with a Python plugin, shown as a file by nbdfuse) that keeps what is
 * written apart until it is flushed, and on command drops a random half of it, or refuses a few writes.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { command } from './mounts.ts';

/**
 * `cut` and `eio` are files beside the image: `cut` is on while it is there, `eio` says how many writes are
 * refused after how many that are not.
 *
 * A write that goes on where the one before it ended is never refused. FUSE splits a request at pages, and
 * the kernel's loop driver takes a request as written when only its first part was: the
 * file system above would never hear of the refusal. A refused first part fails the whole request.
 */
const plugin = `
import builtins, errno, os, random
import nbdkit
API_VERSION = 2
SECTOR = 512
base = None
size = 0
image = None
pending = {}
chance = None
cut_seen = False
refusals = 0
passes = 0
accepted_end = None

def config(key, value):
    global base, size, chance
    if key == "base": base = value
    elif key == "bytes": size = int(value)
    elif key == "seed": chance = random.Random(int(value))

def get_ready():
    global image
    image = os.open(os.path.join(base, "image"), os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(image, size)

def thread_model(): return nbdkit.THREAD_MODEL_SERIALIZE_ALL_REQUESTS
def open(readonly): return 1
def get_size(h): return size
def can_flush(h): return True
def can_fua(h): return nbdkit.FUA_NATIVE
def can_write(h): return True

def keep(sectors):
    for at in sorted(sectors):
        os.pwrite(image, pending[at], at * SECTOR)

def check():
    global cut_seen, refusals, passes
    if os.path.exists(os.path.join(base, "cut")):
        if not cut_seen:
            keep([at for at in pending if chance.random() < 0.5])
            pending.clear()
            cut_seen = True
        return errno.EIO
    cut_seen = False
    eio = os.path.join(base, "eio")
    if os.path.exists(eio):
        with builtins.open(eio) as file: refusals, passes = map(int, file.read().split())
        os.unlink(eio)
    return 0

def refuse(begins):
    global refusals, passes, accepted_end
    code = check()
    if not code and begins and refusals > 0:
        if passes > 0: passes -= 1
        else:
            refusals -= 1
            code = errno.EIO
    if code:
        accepted_end = None
        nbdkit.set_error(code)
        raise OSError(code, "refused")

def pread(h, buf, offset, flags):
    check()
    buf[:] = os.pread(image, len(buf), offset)
    for at in range(offset // SECTOR, (offset + len(buf)) // SECTOR):
        held = pending.get(at)
        if held is not None:
            buf[at * SECTOR - offset:(at + 1) * SECTOR - offset] = held

def pwrite(h, buf, offset, flags):
    global accepted_end
    refuse(offset != accepted_end)
    accepted_end = offset + len(buf)
    for n in range(0, len(buf), SECTOR):
        pending[(offset + n) // SECTOR] = bytes(buf[n:n + SECTOR])
    if flags & nbdkit.FLAG_FUA: flush(h, 0)

def flush(h, flags):
    global accepted_end
    refuse(False)
    accepted_end = None
    keep(pending)
    pending.clear()
`;

const startMs = 60_000;

export class LossyDevice {
  /** The device as a file. */
  readonly path: string;
  readonly #dir: string;
  #server: ChildProcess | undefined;
  #face: ChildProcess | undefined;

  private constructor(dir: string) {
    this.#dir = dir;
    this.path = path.join(dir, 'face/disk');
  }

  static async start(dir: string, bytes: number, seed: number): Promise<LossyDevice> {
    mkdirSync(path.join(dir, 'face'), { recursive: true });
    const script = path.join(dir, 'plugin.py');
    writeFileSync(script, plugin);
    const device = new LossyDevice(dir);
    const words = [`script=${script}`, `base=${dir}`, `bytes=${bytes}`, `seed=${seed}`];
    device.#server = spawn('nbdkit', ['-f', '-U', path.join(dir, 'socket'), 'python', ...words], {
      stdio: 'ignore',
    });
    try {
      waitFor(() => existsSync(path.join(dir, 'socket')), 'nbdkit did not start');
      device.#showFace();
    } catch (error) {
      device.stop();
      throw error;
    }
    return device;
  }

  /** Drops a random half of what is not flushed; refuses writes until `powerOn`. */
  cut(): void {
    writeFileSync(path.join(this.#dir, 'cut'), '');
    // Any request makes the plugin look.
    command('dd', `if=${this.path}`, 'of=/dev/null', 'bs=4096', 'count=1', 'iflag=direct', 'status=none');
  }

  /** After a cut; nothing of it may be mounted. No cache of the device survives. */
  powerOn(): void {
    this.#hideFace();
    rmSync(path.join(this.#dir, 'cut'), { force: true });
    this.refuseWrites(0);
    this.#showFace();
  }

  /**
   * Refuses `count` writes after `passes` more, often those of a file's data and not of the journal: the file
   * system then goes on.
   */
  refuseWrites(count: number, passes = 0): void {
    const file = path.join(this.#dir, 'eio');
    writeFileSync(`${file}.new`, `${count} ${passes}`);
    renameSync(`${file}.new`, file);
  }

  stop(): void {
    this.#hideFace();
    this.#server?.kill('SIGKILL');
    this.#server = undefined;
    rmSync(path.join(this.#dir, 'image'), { force: true });
  }

  #showFace(): void {
    const face = path.join(this.#dir, 'face');
    const socket = path.join(this.#dir, 'socket');
    this.#face = spawn('nbdfuse', [`${face}/disk`, '--unix', socket], { stdio: 'ignore' });
    waitFor(() => existsSync(this.path) && statSync(this.path).size > 0, 'nbdfuse did not start');
  }

  #hideFace(): void {
    if (this.#face === undefined) return;
    const face = path.join(this.#dir, 'face');
    if (spawnSync('umount', [face]).status !== 0) spawnSync('umount', ['-l', face]);
    this.#face.kill('SIGKILL');
    this.#face = undefined;
  }
}

function waitFor(isThere: () => boolean, failure: string): void {
  const until = performance.now() + startMs;
  while (!isThere()) {
    if (performance.now() > until) throw new Error(failure);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
  }
}
