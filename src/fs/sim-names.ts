/**
 * Names of the simulated disk: what programs see, what a power cut leaves, and the operations between.
 *
 * Profiles. 'posix' and 'wild': an operation on a directory is durable only after a sync of that directory;
 * any subset of the others may survive that keeps, per name, an operation's predecessors. 'ext4': all
 * directories share one journal; a prefix of it survives, a sync of a new file or of a directory commits it
 * up to there, and a rename over an existing file carries the bytes written before it.
 *
 * Invariants
 * - durable names plus every pending operation in order are the current names (memory-crash.test: "a power
 *   cut leaves …").
 * - A node lives while a name, a pending operation or a handle refers to it (memory-file-system.test: "an
 *   unlinked …").
 */
import { assert } from '../base/assert.ts';
import { SimFile } from './sim-file.ts';

/** How strictly the simulated disk keeps to what POSIX leaves open. */
export type FsProfile = 'posix' | 'ext4' | 'wild';

export class SimDir {
  readonly id: number;
  readonly current: Map<string, number>;
  readonly durable: Map<string, number>;
  refs = 0;
  mtime = 0;

  constructor(id: number, current = new Map<string, number>(), durable = new Map<string, number>()) {
    this.id = id;
    this.current = current;
    this.durable = durable;
  }
}

export type SimNode = SimFile | SimDir;

/** `node` 0 removes the name. */
interface Edit {
  readonly dir: number;
  readonly name: string;
  readonly node: number;
}

export interface NameOp {
  readonly kind: 'create' | 'mkdir' | 'rename' | 'link' | 'unlink' | 'rmdir';
  readonly seq: number;
  readonly path: string;
  readonly edits: readonly Edit[];
  /** Names whose earlier operations must have survived too, as "dir/name". */
  readonly after: readonly string[];
  /** ext4: file whose bytes written before this operation become durable with it; 0 for none. */
  readonly flushes: number;
}

const rootId = 1;
const nameKey = (dir: number, name: string): string => `${dir}/${name}`;

export class SimNames {
  readonly profile: FsProfile;
  readonly #nodes = new Map<number, SimNode>();
  #ops: NameOp[] = [];
  #nextId = rootId + 1;

  constructor(profile: FsProfile) {
    this.profile = profile;
    const root = new SimDir(rootId);
    root.refs = 1;
    this.#nodes.set(rootId, root);
  }

  get ops(): readonly NameOp[] {
    return this.#ops;
  }

  get root(): SimDir {
    return this.dir(rootId);
  }

  node(id: number): SimNode {
    const node = this.#nodes.get(id);
    assert(node !== undefined, 'node is alive');
    return node;
  }

  dir(id: number): SimDir {
    const node = this.node(id);
    assert(node instanceof SimDir, 'node is a directory');
    return node;
  }

  files(): SimFile[] {
    return [...this.#nodes.values()].filter((node) => node instanceof SimFile);
  }

  create(dir: SimDir, name: string, path: string, seq: number): SimFile {
    const file = new SimFile(this.#nextId++, path);
    this.#nodes.set(file.id, file);
    this.#record('create', seq, path, [{ dir: dir.id, name, node: file.id }]);
    return file;
  }

  mkdir(dir: SimDir, name: string, path: string, seq: number): void {
    const made = new SimDir(this.#nextId++);
    this.#nodes.set(made.id, made);
    this.#record('mkdir', seq, path, [{ dir: dir.id, name, node: made.id }]);
  }

  /** A second name for a file. */
  link(file: SimFile, dir: SimDir, name: string, path: string, seq: number): void {
    this.#record('link', seq, path, [{ dir: dir.id, name, node: file.id }]);
  }

  remove(kind: 'unlink' | 'rmdir', dir: SimDir, name: string, path: string, seq: number): void {
    this.#record(kind, seq, path, [{ dir: dir.id, name, node: 0 }]);
  }

  /** Across directories, the two halves are durable apart (one step on ext4). */
  rename(
    from: { dir: SimDir; name: string },
    to: { dir: SimDir; name: string },
    path: string,
    seq: number,
  ): void {
    const node = from.dir.current.get(from.name)!;
    const moved = this.node(node);
    if (moved instanceof SimFile) moved.label = path;
    const gone: Edit = { dir: from.dir.id, name: from.name, node: 0 };
    const made: Edit = { dir: to.dir.id, name: to.name, node };
    if (from.dir === to.dir || this.profile === 'ext4') {
      const carries = this.profile === 'ext4' && to.dir.current.has(to.name) && moved instanceof SimFile;
      this.#record('rename', seq, path, [gone, made], [], carries ? node : 0);
    } else {
      this.#record('rename', seq, path, [made], [nameKey(gone.dir, gone.name)]);
      this.#record('rename', seq, path, [gone]);
    }
  }

  /** Makes the names in one directory durable. */
  syncDir(id: number): void {
    const touches = (edit: Edit): boolean => edit.dir === id || edit.node === id;
    if (this.profile === 'ext4') this.#commitUpTo((op) => op.edits.some(touches));
    else this.#commitWhere((op) => op.edits.some((edit) => edit.dir === id));
  }

  /** What a sync of a file does for its name: nothing but on ext4. */
  syncFile(id: number): void {
    if (this.profile === 'ext4') this.#commitUpTo((op) => op.edits.some((edit) => edit.node === id));
  }

  hold(node: SimNode): void {
    node.refs++;
  }

  drop(node: SimNode): void {
    node.refs--;
    if (node.refs > 0) return;
    this.#nodes.delete(node.id);
    if (node instanceof SimDir) for (const id of node.durable.values()) this.drop(this.node(id));
  }

  /** An independent copy, without handles. */
  fork(): SimNames {
    const other = new SimNames(this.profile);
    other.#nextId = this.#nextId;
    other.#ops = this.#ops.slice();
    other.#nodes.clear();
    for (const node of this.#nodes.values()) {
      const copy =
        node instanceof SimFile
          ? node.fork()
          : new SimDir(node.id, new Map(node.current), new Map(node.durable));
      copy.mtime = node.mtime;
      other.#nodes.set(copy.id, copy);
    }
    other.#recount();
    return other;
  }

  /**
   * The names after a power cut. `keepOp` is asked for every pending operation in order and `boot` gives
   * what becomes of each file; `flushed` says before which operation a file's bytes went with a rename.
   */
  survive(
    keepOp: (op: NameOp) => boolean,
    boot: (file: SimFile, flushedBefore: number) => SimFile,
  ): SimNames {
    const durable = new Map<number, Map<string, number>>();
    for (const node of this.#nodes.values()) {
      if (node instanceof SimDir) durable.set(node.id, new Map(node.durable));
    }
    const flushed = new Map<number, number>();
    for (const op of this.#survivors(keepOp)) {
      if (op.flushes !== 0) flushed.set(op.flushes, op.seq);
      for (const edit of op.edits) {
        const names = durable.get(edit.dir);
        if (names !== undefined) applyEdit(names, edit);
      }
    }
    const other = new SimNames(this.profile);
    other.#nextId = this.#nextId;
    const visit = (id: number): void => {
      const node = this.node(id);
      if (other.#nodes.has(id) && id !== rootId) return;
      if (node instanceof SimFile) {
        other.#nodes.set(id, boot(node, flushed.get(id) ?? 0));
        return;
      }
      const names = durable.get(id)!;
      const copy = new SimDir(id, new Map(names), new Map(names));
      copy.mtime = node.mtime;
      other.#nodes.set(id, copy);
      for (const child of names.values()) visit(child);
    };
    visit(rootId);
    other.#recount();
    return other;
  }

  #survivors(keepOp: (op: NameOp) => boolean): NameOp[] {
    const kept: NameOp[] = [];
    const lost = new Set<string>();
    let cut = false;
    for (const op of this.#ops) {
      const names = op.edits.map((edit) => nameKey(edit.dir, edit.name));
      const wanted = keepOp(op);
      if (wanted && !cut && ![...names, ...op.after].some((name) => lost.has(name))) {
        kept.push(op);
        continue;
      }
      for (const name of names) lost.add(name);
      if (this.profile === 'ext4') cut = true;
    }
    return kept;
  }

  #record(
    kind: NameOp['kind'],
    seq: number,
    path: string,
    edits: readonly Edit[],
    after: readonly string[] = [],
    flushes = 0,
  ): void {
    this.#ops.push({ kind, seq, path, edits, after, flushes });
    for (const edit of edits) if (edit.node !== 0) this.hold(this.node(edit.node));
    for (const edit of edits) {
      const dir = this.dir(edit.dir);
      dir.mtime = seq;
      this.#assign(dir.current, edit);
    }
  }

  #commitUpTo(last: (op: NameOp) => boolean): void {
    const end = this.#ops.findLastIndex(last);
    const done = this.#ops.slice(0, end + 1);
    this.#ops = this.#ops.slice(end + 1);
    this.#commit(done);
  }

  #commitWhere(mine: (op: NameOp) => boolean): void {
    const done = this.#ops.filter(mine);
    if (done.length === 0) return;
    this.#ops = this.#ops.filter((op) => !mine(op));
    this.#commit(done);
  }

  #commit(ops: readonly NameOp[]): void {
    for (const op of ops) {
      if (op.flushes !== 0) (this.node(op.flushes) as SimFile).commit(op.seq);
      for (const edit of op.edits) {
        const dir = this.#nodes.get(edit.dir);
        if (dir instanceof SimDir) this.#assign(dir.durable, edit);
      }
      for (const edit of op.edits) if (edit.node !== 0) this.drop(this.node(edit.node));
    }
  }

  #assign(names: Map<string, number>, edit: Edit): void {
    const before = names.get(edit.name);
    if (edit.node !== 0) this.hold(this.node(edit.node));
    applyEdit(names, edit);
    if (before !== undefined) this.drop(this.node(before));
  }

  #recount(): void {
    for (const node of this.#nodes.values()) node.refs = node.id === rootId ? 1 : 0;
    for (const node of [...this.#nodes.values()]) {
      if (!(node instanceof SimDir)) continue;
      for (const id of node.current.values()) this.hold(this.node(id));
      for (const id of node.durable.values()) this.hold(this.node(id));
    }
    for (const op of this.#ops)
      for (const edit of op.edits) if (edit.node !== 0) this.hold(this.node(edit.node));
    for (const node of [...this.#nodes.values()]) if (node.refs === 0) this.#nodes.delete(node.id);
  }
}

function applyEdit(names: Map<string, number>, edit: Edit): void {
  if (edit.node === 0) names.delete(edit.name);
  else names.set(edit.name, edit.node);
}
