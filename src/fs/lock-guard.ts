/**
 * The guard of the writer lock: a listening socket that the kernel takes back when its process dies.
 *
 * Linux has abstract sockets and Windows has pipes: a name taken is refused to everyone else and vanishes
 * with its owner. Elsewhere the socket is a file in /tmp (the same for every process, unlike os.tmpdir())
 * that a killed owner leaves behind; it is taken over under a claim file, so that of two who find it dead
 * only one removes it. A claim left by a process that died in that moment has to be removed by hand.
 *
 * Abstract sockets are per network namespace: the owner record says what the guard cannot see.
 *
 * Invariants
 * - Two holders of one address never exist at once (lock-guard.test: "a second guard …", "of many who …").
 */
import net from 'node:net';
import { VarveError } from '../base/errors.ts';
import { hasErrno } from './dirs.ts';
import { errnoOf, fsError } from './fs-errors.ts';
import { closeFd, type FileIdentity, openFile, openFlags, unlinkPath } from './raw-fs.ts';

export interface GuardAddress {
  readonly kind: 'abstract' | 'pipe' | 'file';
  readonly path: string;
}

export interface Guard {
  /** Set by the owner; called when the socket fails. */
  onLost: ((reason: Error) => void) | undefined;
  close(): Promise<void>;
}

/**
 * The address for a store directory: named from device and inode, so that every path to it gives the same.
 */
export function guardAddress(store: FileIdentity, platform: string = process.platform): GuardAddress {
  const name = `varve-${store.dev.toString(16)}-${store.ino.toString(16)}`;
  if (platform === 'linux') return { kind: 'abstract', path: `\0${name}` };
  if (platform === 'win32') return { kind: 'pipe', path: `\\\\.\\pipe\\${name}` };
  return { kind: 'file', path: `/tmp/${name}.sock` };
}

/** Takes the guard, or null when somebody has it. VARVE_IO when the platform refuses: never unguarded. */
export async function takeGuard(address: GuardAddress): Promise<Guard | null> {
  let server = await listen(address);
  if (server === null && address.kind === 'file') server = await takeOver(address);
  if (server === null) return null;
  if (address.kind === 'abstract') await proveExclusive(address, server);
  return new SocketGuard(server);
}

/** Whether somebody, this process included, holds the guard; what cannot be known counts as held. */
export function guardIsHeld(address: GuardAddress): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({ path: address.path });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error) => {
      socket.destroy();
      resolve(!['ECONNREFUSED', 'ENOENT'].includes(errnoOf(error) ?? ''));
    });
  });
}

class SocketGuard implements Guard {
  onLost: ((reason: Error) => void) | undefined;
  readonly #server: net.Server;
  #closed: Promise<void> | undefined;

  constructor(server: net.Server) {
    this.#server = server;
    server.on('error', (error) =>
      this.onLost?.(fsError(errnoOf(error), 'lock socket failed', 'LOCK', error)),
    );
  }

  close(): Promise<void> {
    this.#closed ??= closeServer(this.#server);
    return this.#closed;
  }
}

/** Null when the address is in use. */
function listen(address: GuardAddress): Promise<net.Server | null> {
  return new Promise((resolve, reject) => {
    const server = net.createServer((socket) => socket.destroy());
    server.once('error', (error) => {
      if (errnoOf(error) === 'EADDRINUSE') resolve(null);
      else reject(fsError(errnoOf(error), 'lock socket refused', 'LOCK', error));
    });
    // Not exclusive, workers of a cluster would share one socket and all hold the lock.
    server.listen({ path: address.path, exclusive: true }, () => {
      server.removeAllListeners('error');
      server.unref();
      resolve(server);
    });
  });
}

function closeServer(server: net.Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}

/** A runtime that drops the leading zero byte would bind to no name at all and exclude nobody. */
async function proveExclusive(address: GuardAddress, server: net.Server): Promise<void> {
  const second = await listen(address);
  if (second === null) return;
  await closeServer(second);
  await closeServer(server);
  throw new VarveError('VARVE_IO', 'LOCK: this runtime does not support abstract sockets, cannot lock', {
    file: 'LOCK',
  });
}

/**
 * Removes the socket file of a dead owner and listens; null when its owner lives or another takes it over.
 * Whether it lives is asked under the claim only: an answer from before may be about an earlier socket.
 */
async function takeOver(address: GuardAddress): Promise<net.Server | null> {
  const claim = `${address.path}.claim`;
  const fd = await openClaim(claim);
  if (fd === null) return null;
  try {
    if (await guardIsHeld(address)) return null;
    await unlinkPath(address.path, address.path);
    return await listen(address);
  } finally {
    await unlinkPath(claim, claim);
    await closeFd(fd, claim);
  }
}

async function openClaim(claim: string): Promise<number | null> {
  try {
    return await openFile(claim, openFlags.createNew, claim);
  } catch (error) {
    if (hasErrno(error, 'EEXIST')) return null;
    throw error;
  }
}
