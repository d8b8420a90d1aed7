/** Programs run to their end, with what each took of the machine. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** What one program took, start included. */
export interface Spent {
  readonly seconds: number;
  /** Of all cores, user and system; undefined where the system does not tell. */
  readonly cpuSeconds: number | undefined;
  /** High-water mark of its memory; undefined where the system does not tell. */
  readonly peakMiB: number | undefined;
}

export interface Ran extends Spent {
  readonly stdout: string;
}

const pollMs = 20;
/** Ticks of /proc, a second. Linux has told programs this number for ever, whatever its own clock does. */
const ticks = 100;

/** Runs a program, one at a time. Rejects with what it wrote to stderr unless it ends with code 0. */
export function runProgram(
  command: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv } = {},
): Promise<Ran> {
  const cpuBefore = childCpuSeconds();
  const began = performance.now();
  const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  let peakMiB: number | undefined;
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-10_000);
  });
  const look = (): void => {
    const now = child.pid === undefined ? undefined : peakOf(child.pid);
    if (now !== undefined) peakMiB = Math.max(peakMiB ?? 0, now);
  };
  const poll = setInterval(look, pollMs);
  return new Promise((resolve, reject) => {
    child.on('error', (error) => {
      clearInterval(poll);
      reject(error);
    });
    child.on('close', (code, signal) => {
      clearInterval(poll);
      const seconds = (performance.now() - began) / 1000;
      if (code !== 0) {
        reject(new Error(`${command} ${args.join(' ')} ended with ${code ?? signal}: ${stderr}`));
        return;
      }
      const cpuAfter = childCpuSeconds();
      const cpuSeconds = cpuBefore === undefined || cpuAfter === undefined ? undefined : cpuAfter - cpuBefore;
      resolve({ seconds, cpuSeconds, peakMiB, stdout });
    });
  });
}

/** Of all children that have ended. */
function childCpuSeconds(): number | undefined {
  const stat = contentOf('/proc/self/stat');
  // The second field is a name in brackets; children's user and system times are the 16th and 17th.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields === undefined ? undefined : (Number(fields[13]) + Number(fields[14])) / ticks;
}

function peakOf(pid: number): number | undefined {
  const found = contentOf(`/proc/${pid}/status`)?.match(/^VmHWM:\s+(\d+) kB$/m);
  return found === null || found === undefined ? undefined : Number(found[1]) / 1024;
}

/** Undefined where there is no such file: on other systems, and of a process that has ended. */
function contentOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return undefined;
    throw error;
  }
}
