/** The import closure of an entry point, through our sources and into node_modules. */
import { existsSync, readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { dirname, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ResolverFactory } from 'rolldown/experimental';
import { type Finding, type Import, lineOf, source } from './source.ts';

/** Packages that are, or exist to load, a native add-on. */
const nativePackages = new RegExp(
  `^(${[
    'fs-ext',
    'piscina',
    '@napi-rs/.*',
    '@msgpackr-extract/.*',
    'msgpackr-extract',
    'node-gyp-build.*',
    'bindings',
    'prebuild-install',
  ].join('|')})$`,
);

export interface Closure {
  /** Project-relative paths of every file loaded, sorted. */
  readonly files: readonly string[];
  readonly findings: readonly Finding[];
}

const root = fileURLToPath(new URL('../../', import.meta.url));
const shared = { extensions: ['.js', '.json', '.node', '.ts'], mainFields: ['main'], symlinks: false };
const importing = new ResolverFactory({ ...shared, conditionNames: ['node', 'import', 'default'] });
const requiring = new ResolverFactory({ ...shared, conditionNames: ['node', 'require', 'default'] });

/** Follows static, dynamic, require and worker-URL imports; types are erased and not followed. */
export function importClosure(entry: string): Closure {
  const seen = new Set<string>();
  const findings: Finding[] = [];
  const queue = [entry];
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    if (seen.has(path)) continue;
    seen.add(path);
    const shown = relative(root, path).split(sep).join('/');
    if (path.endsWith('.node')) findings.push({ path: shown, line: 1, message: 'native add-on' });
    if (!/\.([cm]?js|ts)$/.test(path)) continue;
    const file = source(shown, readFileSync(path, 'utf8'));
    if (/\bprocess\.dlopen\b/.test(file.text)) {
      findings.push({
        path: shown,
        line: lineOf(file, file.text.indexOf('process.dlopen')),
        message: 'dlopen',
      });
    }
    for (const edge of file.imports) {
      const next = follow(path, edge);
      if (typeof next === 'string') queue.push(next);
      else if (next !== undefined) {
        findings.push({ path: shown, line: lineOf(file, edge.start), message: next.fault });
      }
    }
  }
  const files = [...seen].map((path) => relative(root, path).split(sep).join('/')).sort();
  return { files, findings };
}

function follow(from: string, edge: Import): string | { fault: string } | undefined {
  const { specifier, kind } = edge;
  if (kind === 'type') return undefined;
  if (specifier === undefined) return { fault: 'computed import: what it loads cannot be told' };
  if (nativePackages.test(packageName(specifier))) return { fault: `loads ${specifier}` };
  if (kind === 'url') return worker(from, specifier);
  if (isBuiltin(specifier)) return undefined;
  const resolver = kind === 'require' ? requiring : importing;
  const result = resolver.sync(dirname(from), specifier);
  return result.path ?? { fault: `cannot resolve ${specifier}: ${result.error}` };
}

/** A worker entry is named as built (`.js`); its source has the same name. Other files are data. */
function worker(from: string, specifier: string): string | undefined {
  const path = fileURLToPath(new URL(specifier, `file://${from}`));
  return [path, path.replace(/\.js$/, '.ts')].find((one) => /\.([cm]?js|ts)$/.test(one) && existsSync(one));
}

const packageName = (specifier: string): string =>
  specifier.startsWith('.') ? '' : specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
