/**
 * Has V8 optimize functions later than it would: a command runs for seconds, and what compilers on threads of
 * their own take of them comes back only in programs that run for long.
 */
import v8 from 'node:v8';

/** Bytes of bytecode a function runs through before V8 optimizes it; V8 11 takes 132 KiB. */
const budgetBytes = 300_000;

/**
 * For this process, once, before anything else is loaded. Does nothing on a V8 other than 11, that of Node
 * 20: later ones have a compiler between the interpreter and the one that takes long.
 */
export function optimizeLate(
  version: string = process.versions.v8,
  setFlags: (flags: string) => void = v8.setFlagsFromString,
): void {
  if (version.startsWith('11.')) setFlags(`--interrupt-budget=${budgetBytes}`);
}
