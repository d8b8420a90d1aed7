/**
 * The file system in memory: the port's contract to the letter, nothing durable before its sync, and a disk
 * to look at after each power cut. Effects happen at once; promises settle in microtasks.
 *
 * Invariants
 * - Bytes and names survive a crash exactly as port.ts promises (memory-crash.test, sim-file.test).
 * - A crash or fork leaves this disk as it was, so one state can be crashed in many ways
 *   (memory-file-system.test: "forks and crashes …").
 * - Once the machine is off every call throws CrashNow (memory-file-system.test: "a crash fault …").
 */
import { encodeUtf8 } from '../base/bytes.ts';
import { Prng } from '../base/prng.ts';
import { xxh64 } from '../codec/checksum.ts';
import { type CrashChooser, fixedChooser, type PendingItem, randomChooser } from './crash-chooser.ts';
import { fsError } from './fs-errors.ts';
import { baseName, parentPath, pathNames } from './fs-path.ts';
import { MemoryFile } from './memory-file.ts';
import type { PagedBytes } from './paged-bytes.ts';
import type { FsCaps, FsEntry, FsFile, FsPort, FsStat, OpenMode } from './port.ts';
import { type PendingChange, SimFile, sectorBytes, sectorCount } from './sim-file.ts';
import { type FaultHook, type FsFault, type FsOp, SimMachine } from './sim-machine.ts';
import { type FsProfile, type SimDir, SimNames, type SimNode } from './sim-names.ts';

export interface MemoryFileSystemOptions {
  /** 'posix' by default. */
  profile?: FsProfile;
  /** Bytes all files together may hold before writes fail with ENOSPC; no bound by default. */
  capacity?: number;
  /** False refuses to rename over or unlink an open file (EBUSY), as Windows does. True by default. */
  replaceOpen?: boolean;
  /** Bytes a power cut keeps or loses together: 512 by default, 4096 as on large-sector drives. */
  sectorBytes?: number;
  /** Directory shown in messages. */
  root?: string;
}

/** A file as it is at some moment: equal files have equal digests. */
export interface FileMark {
  readonly size: number;
  readonly digest: bigint;
}

/** What a disk has, by path; undefined for directories. */
export type DiskContents = ReadonlyMap<string, FileMark | undefined>;

const markOf = (bytes: PagedBytes): FileMark => ({ size: bytes.size, digest: bytes.digest() });

export class MemoryFileSystem implements FsPort {
  readonly root: string;
  readonly caps: FsCaps;
  readonly profile: FsProfile;
  readonly sectorBytes: number;
  /** Bytes all files together may hold; may be changed while in use. */
  capacity: number;
  readonly #machine = new SimMachine();
  #names: SimNames;

  constructor(options: MemoryFileSystemOptions = {}) {
    this.root = options.root ?? 'memory';
    this.profile = options.profile ?? 'posix';
    this.sectorBytes = options.sectorBytes ?? sectorBytes;
    this.capacity = options.capacity ?? Number.POSITIVE_INFINITY;
    this.caps = { syncDir: true, replaceOpen: options.replaceOpen ?? true };
    this.#names = new SimNames(this.profile);
  }

  /** Every mutating call so far, in order, faulty ones included. */
  get trace(): readonly FsOp[] {
    return this.#machine.trace;
  }

  /** Length of `trace`: the index of the next mutating call. */
  get opCount(): number {
    return this.#machine.trace.length;
  }

  /** Asked before each call, reading ones too; the fault it returns is acted out. */
  get faults(): FaultHook | undefined {
    return this.#machine.faults;
  }

  set faults(hook: FaultHook | undefined) {
    this.#machine.faults = hook;
  }

  /** Awaited before each asynchronous call takes effect; for a seeded scheduler. */
  set schedule(hook: ((op: FsOp) => Promise<void> | undefined) | undefined) {
    this.#machine.schedule = hook;
  }

  /** Awaited after a sync of a file took effect, before its caller is told. */
  set answer(hook: (() => Promise<void>) | undefined) {
    this.#machine.answer = hook;
  }

  /** True once a 'crash' fault has switched the machine off. */
  get off(): boolean {
    return this.#machine.off;
  }

  /** The mutating call with this index gets this fault. */
  failAt(index: number, fault: FsFault): void {
    this.#machine.failAt(index, fault);
  }

  async open(path: string, mode: OpenMode): Promise<FsFile> {
    await this.#turn(mode === 'create' ? 'create' : 'open', path);
    if (mode !== 'create') return this.#openExisting(path, mode === 'rw');
    const seq = this.#machine.mutateOrThrow('create', path);
    const dir = this.#parent(path);
    if (dir.current.has(baseName(path))) throw fsError('EEXIST', 'create failed', path);
    const made = this.#names.create(dir, baseName(path), path, seq);
    return new MemoryFile(this.#machine, this.#names, made, path, true, () => this.#room());
  }

  openSync(path: string): FsFile {
    return this.#openExisting(path, false);
  }

  async mkdir(path: string): Promise<boolean> {
    await this.#turn('mkdir', path);
    const seq = this.#machine.mutateOrThrow('mkdir', path);
    const dir = this.#parent(path);
    const there = dir.current.get(baseName(path));
    if (there !== undefined) {
      if (this.#names.node(there) instanceof SimFile) throw fsError('ENOTDIR', 'mkdir failed', path);
      return false;
    }
    this.#names.mkdir(dir, baseName(path), path, seq);
    return true;
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#turn('rename', from);
    const seq = this.#machine.mutateOrThrow('rename', from, to);
    const source = this.#find(from);
    if (source === undefined) throw fsError('ENOENT', 'rename failed', from);
    const target = this.#find(to);
    const toDir = this.#parent(to);
    if (source === target) return;
    if (target !== undefined) {
      if (source instanceof SimFile && !(target instanceof SimFile))
        throw fsError('EISDIR', 'rename failed', to);
      if (!(source instanceof SimFile) && target instanceof SimFile)
        throw fsError('ENOTDIR', 'rename failed', to);
      if (!(target instanceof SimFile) && target.current.size > 0)
        throw fsError('ENOTEMPTY', 'rename failed', to);
      this.#refuseOpen(target, 'rename', to);
    }
    const fromDir = this.#parent(from);
    this.#names.rename({ dir: fromDir, name: baseName(from) }, { dir: toDir, name: baseName(to) }, to, seq);
  }

  async link(from: string, to: string): Promise<void> {
    await this.#turn('link', from);
    const seq = this.#machine.mutateOrThrow('link', from, to);
    const source = this.#find(from);
    if (source === undefined) throw fsError('ENOENT', 'link failed', from);
    if (!(source instanceof SimFile)) throw fsError('EPERM', 'link failed', from);
    const dir = this.#parent(to);
    if (dir.current.has(baseName(to))) throw fsError('EEXIST', 'link failed', to);
    this.#names.link(source, dir, baseName(to), to, seq);
  }

  async unlink(path: string): Promise<boolean> {
    await this.#turn('unlink', path);
    const seq = this.#machine.mutateOrThrow('unlink', path);
    const found = this.#find(path);
    if (found === undefined) return false;
    if (!(found instanceof SimFile)) throw fsError('EISDIR', 'unlink failed', path);
    this.#refuseOpen(found, 'unlink', path);
    this.#names.remove('unlink', this.#parent(path), baseName(path), path, seq);
    return true;
  }

  async rmdir(path: string): Promise<boolean> {
    await this.#turn('rmdir', path);
    const seq = this.#machine.mutateOrThrow('rmdir', path);
    const found = this.#find(path);
    if (found === undefined) return false;
    if (found instanceof SimFile) throw fsError('ENOTDIR', 'rmdir failed', path);
    if (found.current.size > 0) return false;
    this.#names.remove('rmdir', this.#parent(path), baseName(path), path, seq);
    return true;
  }

  async list(path: string): Promise<FsEntry[]> {
    await this.#turn('list', path);
    this.#machine.look('list', path);
    const dir = this.#directory(path, 'list');
    return [...dir.current.keys()].sort().map((name) => {
      const node = this.#names.node(dir.current.get(name)!);
      return { name, kind: node instanceof SimFile ? 'file' : 'directory' };
    });
  }

  async stat(path: string): Promise<FsStat | null> {
    await this.#turn('stat', path);
    this.#machine.look('stat', path);
    const node = this.#find(path);
    if (node === undefined) return null;
    if (node instanceof SimFile) return { kind: 'file', size: node.cache.size, mtimeMs: node.mtime };
    return { kind: 'directory', size: 0, mtimeMs: node.mtime };
  }

  async syncDir(path: string): Promise<void> {
    await this.#turn('syncDir', path);
    this.#machine.mutateOrThrow('syncDir', path);
    this.#names.syncDir(this.#directory(path, 'syncDir').id);
  }

  async free(): Promise<number | undefined> {
    await this.#turn('free', '');
    this.#machine.look('free', '');
    return Number.isFinite(this.capacity) ? Math.max(0, this.#room()) : undefined;
  }

  /** What a power cut now could lose, name operations first; works while the machine is off. */
  pending(): PendingItem[] {
    const items: PendingItem[] = [];
    for (const op of this.#names.ops) {
      items.push({ kind: op.kind, path: op.path, index: items.length, seq: op.seq, sectors: 1 });
    }
    for (const file of this.#names.files()) {
      for (const change of file.pending) items.push(this.#itemOf(change, file.label, items.length));
    }
    return items;
  }

  /** The disk after a power cut now, switched on again, with a fresh trace. This one stays as it is. */
  crash(choose: CrashChooser | Prng | 'none' | 'all'): MemoryFileSystem {
    const chooser = chooserOf(choose);
    const items = this.pending();
    const verdicts = items.map((item) => chooser.keep(item));
    let nextOp = 0;
    const firstOf = new Map<SimFile, number>();
    let at = this.#names.ops.length;
    for (const file of this.#names.files()) {
      firstOf.set(file, at);
      at += file.pending.length;
    }
    const boot = (file: SimFile, flushedBefore: number): SimFile => {
      let next = firstOf.get(file)!;
      const bytes = file.survive((change) => {
        const verdict = verdicts[next++]!;
        return change.seq < flushedBefore || verdict;
      }, this.sectorBytes);
      const grows = this.profile === 'wild' && file.pending.length > 0 && bytes.size < file.cache.size;
      const tail = grows ? chooser.extend?.(file.label, bytes.size, file.cache.size) : undefined;
      if (tail !== undefined) bytes.write(tail.subarray(0, file.cache.size - bytes.size), bytes.size);
      return file.rebooted(bytes);
    };
    return this.#twin(this.#names.survive(() => verdicts[nextOp++] !== false, boot));
  }

  /** An independent copy with everything pending still pending, no open files and a fresh trace. */
  fork(): MemoryFileSystem {
    return this.#twin(this.#names.fork());
  }

  /** 16 hex digits over every path and byte that programs see; equal states have equal digests. */
  digest(): string {
    let text = '';
    for (const [path, mark] of this.contents()) text += `${path}\0${mark?.digest ?? ''}\0`;
    return xxh64(encodeUtf8(text)).toString(16).padStart(16, '0');
  }

  /** Every file and directory that programs see, by path in the order of names. */
  contents(): DiskContents {
    const contents = new Map<string, FileMark | undefined>();
    for (const [path, node] of this.#walk())
      contents.set(path, node instanceof SimFile ? markOf(node.cache) : undefined);
    return contents;
  }

  /** Of the size and bytes a file has now; equal files have equal ones. */
  digestOf(path: string): bigint {
    return this.#file(path).cache.digest();
  }

  /** Paths of every file, sorted. */
  files(): string[] {
    return [...this.#walk()].filter(([, node]) => node instanceof SimFile).map(([path]) => path);
  }

  /** The bytes a file has now, as a copy. */
  bytesOf(path: string): Uint8Array {
    const file = this.#file(path);
    return file.cache.copy(0, file.cache.size);
  }

  /**
   * Damages a file in place, in the cache and on the disk: `change` edits the bytes it is given or returns
   * others. Pending changes of the file become durable first.
   */
  corrupt(path: string, change: (bytes: Uint8Array) => Uint8Array | undefined): void {
    const file = this.#file(path);
    const before = file.cache.copy(0, file.cache.size);
    const after = change(before) ?? before;
    file.commit();
    file.durable.truncate(0);
    file.durable.write(after, 0);
    file.cache = file.durable.fork();
  }

  /** Inverts one bit of a file, as `corrupt` does; bit 0 is the lowest of byte 0. */
  flipBit(path: string, bit: number): void {
    this.corrupt(path, (bytes) => {
      bytes[Math.floor(bit / 8)]! ^= 1 << (bit % 8);
      return bytes;
    });
  }

  #twin(names: SimNames): MemoryFileSystem {
    const { root, profile, capacity, sectorBytes } = this;
    const { replaceOpen } = this.caps;
    const other = new MemoryFileSystem({ root, profile, capacity, sectorBytes, replaceOpen });
    other.#names = names;
    return other;
  }

  async #turn(kind: FsOp['kind'], path: string): Promise<void> {
    pathNames(path);
    const schedule = this.#machine.schedule;
    if (schedule !== undefined) await schedule({ kind, path, index: this.opCount });
  }

  #openExisting(path: string, writable: boolean): FsFile {
    this.#machine.look('open', path);
    const found = this.#find(path);
    if (found === undefined) throw fsError('ENOENT', 'open failed', path);
    if (!(found instanceof SimFile)) throw fsError('EISDIR', 'open failed', path);
    return new MemoryFile(this.#machine, this.#names, found, path, writable, () => this.#room());
  }

  #find(path: string): SimNode | undefined {
    let node: SimNode = this.#names.root;
    for (const name of pathNames(path)) {
      if (node instanceof SimFile) throw fsError('ENOTDIR', 'lookup failed', path);
      const id = node.current.get(name);
      if (id === undefined) return undefined;
      node = this.#names.node(id);
    }
    return node;
  }

  #directory(path: string, what: string): SimDir {
    const node = this.#find(path);
    if (node === undefined) throw fsError('ENOENT', `${what} failed`, path);
    if (node instanceof SimFile) throw fsError('ENOTDIR', `${what} failed`, path);
    return node;
  }

  #parent(path: string): SimDir {
    return this.#directory(parentPath(path), 'lookup');
  }

  #file(path: string): SimFile {
    const node = this.#find(path);
    if (!(node instanceof SimFile)) throw fsError('ENOENT', 'no such file', path);
    return node;
  }

  #refuseOpen(node: SimNode, what: string, path: string): void {
    if (!this.caps.replaceOpen && node instanceof SimFile && node.handles > 0) {
      throw fsError('EBUSY', `${what} failed`, path);
    }
  }

  #itemOf(change: PendingChange, path: string, index: number): PendingItem {
    const isWrite = change.kind === 'write';
    const sectors = isWrite ? sectorCount(change.pos, change.bytes.length, this.sectorBytes) : 1;
    return { kind: change.kind, path, index, seq: change.seq, sectors };
  }

  #room(): number {
    if (!Number.isFinite(this.capacity)) return this.capacity;
    let used = 0;
    for (const file of this.#names.files()) used += file.cache.size;
    return this.capacity - used;
  }

  *#walk(dir: SimDir = this.#names.root, prefix = ''): Generator<[string, SimNode]> {
    for (const name of [...dir.current.keys()].sort()) {
      const node = this.#names.node(dir.current.get(name)!);
      yield [prefix + name, node];
      if (!(node instanceof SimFile)) yield* this.#walk(node, `${prefix}${name}/`);
    }
  }
}

function chooserOf(choose: CrashChooser | Prng | 'none' | 'all'): CrashChooser {
  if (choose === 'none' || choose === 'all') return fixedChooser(choose === 'all');
  return choose instanceof Prng ? randomChooser(choose) : choose;
}
