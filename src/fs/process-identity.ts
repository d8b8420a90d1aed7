/** Which process this is, told so that another process, or the next boot, can know whether it still lives. */
import os from 'node:os';
import { readLinkText, readSystemText } from './raw-fs.ts';

export interface ProcessIdentity {
  readonly host: string;
  /** '' where the platform does not tell. */
  readonly bootId: string;
  readonly pid: number;
  /** '' where the platform has none. */
  readonly pidNamespace: string;
  /** '' where the platform does not tell. */
  readonly processStart: string;
}

/** This process. */
export function ownIdentity(): ProcessIdentity {
  return {
    host: os.hostname(),
    bootId: (readSystemText('/proc/sys/kernel/random/boot_id') ?? '').trim(),
    pid: process.pid,
    pidNamespace: readLinkText('/proc/self/ns/pid') ?? '',
    processStart: statOf('self')?.start ?? '',
  };
}

/**
 * Whether the process with this pid, started then, lives in this pid namespace. A zombie is dead: it holds
 * nothing any more. With no start time to compare, any process with the pid counts.
 */
export function processLives(pid: number, processStart: string): boolean {
  if (pid <= 0) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: it is there, and another user's.
    if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return false;
  }
  const stat = statOf(String(pid));
  if (stat === undefined) return true;
  if (stat.state === 'Z' || stat.state === 'X') return false;
  return processStart === '' || stat.start === processStart;
}

/** State and start time (clock ticks since boot) from /proc; undefined where there is none to read. */
function statOf(pid: string): { state: string; start: string } | undefined {
  const text = readSystemText(`/proc/${pid}/stat`);
  if (text === undefined) return undefined;
  // The second field is the program's name in parentheses and may hold anything, so count from its end.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const state = fields[0];
  const start = fields[19];
  return state === undefined || start === undefined ? undefined : { state, start };
}
