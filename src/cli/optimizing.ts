/**
 * When V8 compiles hot functions anew for speed, which it does on threads of its own and which takes it some
 * milliseconds for each: of a command that runs for a second or two it was up to two fifths of the processor
 * time, and little of that came back. Here a function must have run for longer first. What runs for long is
 * compiled all the same.
 */

/** By the beginning of V8's version: flags have other names and effects in others. */
const flags: readonly (readonly [version: string, flag: string])[] = [
  ['11.3.', '--interrupt-budget=600000'],
  ['12.4.', '--invocation-count-for-turbofan=9000'],
];

/** The flag for a version of V8; undefined where it decides well by itself, or is not known. */
export function laterOptimizing(v8Version: string): string | undefined {
  return flags.find(([version]) => v8Version.startsWith(version))?.[1];
}
