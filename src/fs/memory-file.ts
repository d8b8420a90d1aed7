/** An open file of the simulated disk. */
import { assert } from '../base/assert.ts';
import { fsError } from './fs-errors.ts';
import { HandleGate } from './handle-gate.ts';
import type { FsFile } from './port.ts';
import type { SimFile } from './sim-file.ts';
import type { FsLie, FsOp, SimMachine } from './sim-machine.ts';
import type { SimNames } from './sim-names.ts';

export class MemoryFile implements FsFile {
  readonly path: string;
  readonly #machine: SimMachine;
  readonly #names: SimNames;
  readonly #file: SimFile;
  readonly #writable: boolean;
  readonly #room: () => number;
  readonly #gate = new HandleGate();

  constructor(
    machine: SimMachine,
    names: SimNames,
    file: SimFile,
    path: string,
    writable: boolean,
    room: () => number,
  ) {
    this.path = path;
    this.#machine = machine;
    this.#names = names;
    this.#file = file;
    this.#writable = writable;
    this.#room = room;
    names.hold(file);
    file.handles++;
  }

  read(buf: Uint8Array, pos: number): Promise<number> {
    return this.#turn('read', () => this.#read(buf, pos));
  }

  readSync(buf: Uint8Array, pos: number): number {
    this.#gate.check();
    return this.#read(buf, pos);
  }

  readDirect(buf: Uint8Array, pos: number): Promise<number> {
    return this.read(buf, pos);
  }

  write(buf: Uint8Array, pos: number): Promise<void> {
    return this.#turn('write', () => this.#write(buf, pos));
  }

  writeSync(buf: Uint8Array, pos: number): void {
    this.#gate.check();
    this.#write(buf, pos);
  }

  writeDirect(buf: Uint8Array, pos: number): Promise<void> {
    return this.write(buf, pos);
  }

  sync(): Promise<void> {
    return this.#turn('sync', () => this.#sync('sync'));
  }

  dataSync(): Promise<void> {
    return this.#turn('dataSync', () => this.#sync('dataSync'));
  }

  truncate(length: number): Promise<void> {
    return this.#turn('truncate', () => {
      assert(Number.isSafeInteger(length) && length >= 0, 'length is a whole number');
      this.#mayWrite('truncate');
      const seq = this.#machine.mutateOrThrow('truncate', this.path);
      const grows = length - this.#file.cache.size;
      if (grows > 0 && grows > this.#room()) throw fsError('ENOSPC', 'truncate failed', this.path);
      this.#file.truncate(length, seq);
    });
  }

  size(): Promise<number> {
    return this.#turn('size', () => {
      this.#machine.look('size', this.path);
      return this.#file.cache.size;
    });
  }

  close(): Promise<void> {
    return this.#gate.close(async () => {
      this.#file.handles--;
      this.#names.drop(this.#file);
      this.#machine.look('close', this.path);
    });
  }

  #turn<T>(kind: FsOp['kind'], effect: () => T): Promise<T> {
    const { schedule, trace } = this.#machine;
    if (schedule === undefined) return this.#now(effect);
    return this.#gate.run(async () => {
      await schedule({ kind, path: this.path, index: trace.length });
      const result = effect();
      if (kind === 'sync' || kind === 'dataSync') await this.#machine.answer?.();
      return result;
    });
  }

  /** Takes effect before it returns, so that nothing is under way when somebody closes the file. */
  async #now<T>(effect: () => T): Promise<T> {
    this.#gate.check();
    return effect();
  }

  #read(buf: Uint8Array, pos: number): number {
    assert(Number.isSafeInteger(pos) && pos >= 0, 'position is a whole number');
    const lie = this.#machine.look('read', this.path, pos, buf.length);
    return lie === undefined ? this.#file.cache.read(buf, pos) : this.#readFalsely(buf, pos, lie);
  }

  #readFalsely(buf: Uint8Array, pos: number, lie: FsLie): number {
    if (lie.lie === 'stale') return this.#file.durable.read(buf, pos);
    if (lie.lie === 'misdirected') return this.#file.cache.read(buf, lie.pos);
    if (lie.lie === 'short') return this.#file.cache.read(buf.subarray(0, lie.length), pos);
    assert(lie.lie === 'rot', 'a read can lie so');
    const got = this.#file.cache.read(buf, pos);
    if (lie.bit < got * 8) buf[Math.floor(lie.bit / 8)]! ^= 1 << (lie.bit % 8);
    return got;
  }

  #write(buf: Uint8Array, pos: number): void {
    assert(Number.isSafeInteger(pos) && pos >= 0, 'position is a whole number');
    this.#mayWrite('write');
    const seq = this.#machine.trace.length;
    const fault = this.#machine.mutate('write', this.path, { pos, length: buf.length });
    if (fault !== undefined && !('lie' in fault)) {
      const written = Math.min(fault.written ?? 0, buf.length);
      if (written > 0) this.#file.write(buf.subarray(0, written), pos, seq);
      throw fsError(fault.errno, `write failed after ${written} of ${buf.length} bytes`, this.path);
    }
    if (fault?.lie === 'lost') {
      this.#file.cache.write(buf, pos);
      return;
    }
    if (fault !== undefined) {
      assert(fault.lie === 'misdirected', 'a write can lie so');
      this.#file.write(buf, fault.pos, seq);
      return;
    }
    if (buf.length === 0) return;
    const grows = pos + buf.length - this.#file.cache.size;
    const lacking = grows > 0 ? Math.min(buf.length, Math.max(0, grows - this.#room())) : 0;
    const fits = buf.length - lacking;
    if (fits > 0) this.#file.write(buf.subarray(0, fits), pos, seq);
    if (lacking > 0) throw fsError('ENOSPC', `write failed after ${fits} of ${buf.length} bytes`, this.path);
  }

  #sync(kind: 'sync' | 'dataSync'): void {
    const seq = this.#machine.trace.length;
    const fault = this.#machine.mutate(kind, this.path);
    if (fault !== undefined) {
      if ('lie' in fault) {
        assert(fault.lie === 'lost', 'a sync can lie so');
        return;
      }
      this.#file.lose(fault.lost ?? 'dropped');
      if (fault.elsewhere === true) {
        this.#file.untold = { errno: fault.errno, except: this };
        return;
      }
      throw fsError(fault.errno, `${kind} failed`, this.path);
    }
    const { untold } = this.#file;
    if (untold !== undefined && untold.except !== this) {
      this.#file.untold = undefined;
      throw fsError(untold.errno, `${kind} failed`, this.path);
    }
    if (kind === 'dataSync' && this.#names.profile !== 'ext4') this.#file.commitData(seq);
    else this.#file.commit();
    this.#names.syncFile(this.#file.id);
  }

  #mayWrite(what: string): void {
    if (!this.#writable)
      throw fsError('EBADF', `${what} refused, the file was opened for reading`, this.path);
  }
}
