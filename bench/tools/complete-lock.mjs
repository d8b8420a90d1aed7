/**
 * Adds to package-lock.json the optional platform packages it names but does not hold:
 * `node bench/tools/complete-lock.mjs`, after an `npm install` that changed the lock.
 *
 * npm writes no entry for an optional package the registry in use does not carry, and then `npm ci`
 * refuses the lock as out of step. An entry with the exact version, system and processor is all `npm ci`
 * needs to know that the package is not for this machine. Entries made here have no integrity: npm fills
 * it in where it can.
 */
import { readFileSync, writeFileSync } from 'node:fs';

const path = new URL('../../package-lock.json', import.meta.url);
const lock = JSON.parse(readFileSync(path, 'utf8'));
const platform = /-(android|darwin|freebsd|linux|openbsd|win32)-(arm64|x64|arm|ia32)(?:-(musl|glibc))?$/;

const added = [];
for (const [at, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    if (at === '' || lock.packages[`node_modules/${name}`] !== undefined) continue;
    const match = platform.exec(name);
    if (match === null || !/^\d+\.\d+\.\d+$/.test(version)) {
      throw new Error(`${name}@${version} of ${at} names no platform or no exact version`);
    }
    const [, os, cpu, libc] = match;
    lock.packages[`node_modules/${name}`] = {
      version,
      cpu: [cpu],
      ...(entry.dev ? { dev: true } : {}),
      ...(libc === undefined ? {} : { libc: [libc] }),
      ...(entry.license === undefined ? {} : { license: entry.license }),
      optional: true,
      os: [os],
    };
    added.push(name);
  }
}

lock.packages = Object.fromEntries(
  Object.entries(lock.packages).sort(([a], [b]) => (a === '' ? -1 : b === '' ? 1 : a.localeCompare(b, 'en'))),
);
if (added.length > 0) writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`);
process.stdout.write(`${added.length} added ${added.join(' ')}\n`);
