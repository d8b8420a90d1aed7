/** Who may import whom: the tiers of the engine, platform modules and packages, cycles, re-exports. */
import { type Finding, finding, type Import, resolveRelative, type Source } from './source.ts';

/** Tier of each folder of src/. A file imports only from lower tiers and from its own folder. */
export const tiers: Readonly<Record<string, number>> = {
  base: 0,
  codec: 1,
  kernels: 1,
  metrics: 1,
  format: 2,
  fs: 3,
  pool: 3,
  cache: 3,
  log: 4,
  catalog: 4,
  segment: 4,
  tree: 5,
  chunk: 6,
  value: 7,
  txn: 7,
  secondary: 8,
  snapshot: 8,
  backup: 8,
  integrity: 8,
  migrate: 8,
  tune: 8,
  engine: 9,
  'public-types.ts': 10,
  'index.ts': 10,
  layers: 11,
  cli: 11,
  'native-free': 11,
};

/** Imports between folders of one tier. */
export const sidewaysEdges: ReadonlySet<string> = new Set([
  'kernels->codec',
  'txn->value',
  'backup->snapshot',
  'integrity->snapshot',
  'index.ts->public-types.ts',
]);

/** Files that may re-export: the two public faces, and the types of both. */
const faces = new Set(['src/index.ts', 'src/public-types.ts', 'native-free/index.ts']);

/** Modules only some files may import. A module that is not listed is free above the pure tiers. */
export const restricted: readonly { modules: RegExp; allowed: RegExp; why: string }[] = [
  {
    modules: /^node:fs(\/|$)/,
    allowed: /^src\/(fs\/raw-fs\.ts$|cli\/)/,
    why: 'the file system is reached through the port',
  },
  {
    modules: /^(node:worker_threads|piscina)$/,
    allowed: /^src\/pool\//,
    why: 'threads belong to the pool',
  },
  { modules: /^croner$/, allowed: /^src\/backup\/cron\.ts$/, why: 'one file reads the fields of cron' },
  { modules: /^fs-ext$/, allowed: /^src\/fs\/flock\.ts$/, why: 'one file decides whether flock is there' },
  {
    modules: /^node:(net|child_process)$/,
    allowed: /^src\/fs\//,
    why: 'only the writer lock talks to others',
  },
  { modules: /^node:module$/, allowed: /^src\/fs\/flock\.ts$/, why: 'only the optional add-on is required' },
  {
    modules: /^node:(vm|cluster|inspector|dgram|http|https|tls)$/,
    allowed: /^$/,
    why: 'not used here',
  },
];

/** Node modules inside the pure tiers, each behind a provider of its own. */
export const pureExceptions: readonly { module: string; path: RegExp; why: string }[] = [
  {
    module: 'node:crypto',
    path: /^src\/kernels\/(hash|seal)\/[\w-]+-node\.ts$/,
    why: 'fast provider, bound by the entry point; a portable twin exists',
  },
  {
    module: 'node:zlib',
    path: /^src\/kernels\/compress\/[\w-]+-node\.ts$/,
    why: 'fast provider, bound by the entry point',
  },
];

const isEngine = (path: string): boolean => path.startsWith('src/') || path.startsWith('native-free/');
const isRelative = (specifier: string): boolean => specifier.startsWith('.');

/** Folder that has a tier: `src/tree/x.ts` is `tree`, `src/index.ts` is `index.ts`. */
export function folderOf(path: string): string {
  const parts = path.split('/');
  return parts[0] === 'src' ? parts[1]! : parts[0]!;
}

/** True for the tiers and files that must not touch the outside world. */
export function isPure(path: string): boolean {
  if (!path.startsWith('src/')) return false;
  return (tiers[folderOf(path)] ?? 99) <= 2 || path.endsWith('-planner.ts');
}

/** Tier table, allowed sideways edges, `.ts` specifiers, and no way from the engine into test/ or bench/. */
export function layerFindings(files: readonly Source[]): Finding[] {
  const found: Finding[] = [];
  for (const file of files) {
    if (isEngine(file.path) && tiers[folderOf(file.path)] === undefined) {
      found.push(finding(file, 0, `folder ${folderOf(file.path)} has no tier`));
    }
    for (const edge of file.imports) {
      const message = edge.specifier === undefined ? undefined : layerFault(file.path, edge);
      if (message !== undefined) found.push(finding(file, edge.start, message));
    }
  }
  return found;
}

function layerFault(path: string, edge: Import): string | undefined {
  const specifier = edge.specifier!;
  if (!isRelative(specifier)) return undefined;
  const target = resolveRelative(path, specifier);
  if (edge.kind !== 'url' && path.endsWith('.ts') && !/\.(ts|mjs)$/.test(specifier)) {
    return `import ${specifier} does not end in .ts`;
  }
  if (!isEngine(path)) return undefined;
  if (!isEngine(target)) {
    return edge.kind === 'url' ? undefined : `the engine imports ${target}, which is not part of it`;
  }
  const from = folderOf(path);
  const to = folderOf(target);
  if (from === to || sidewaysEdges.has(`${from}->${to}`)) return undefined;
  const fromTier = tiers[from] ?? 99;
  const toTier = tiers[to] ?? 99;
  return toTier < fromTier ? undefined : `${from} (tier ${fromTier}) imports ${to} (tier ${toTier})`;
}

/** Every import cycle is reported once, type imports included. */
export function cycleFindings(files: readonly Source[]): Finding[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const state = new Map<string, 'open' | 'done'>();
  const found: Finding[] = [];
  const trail: string[] = [];
  const visit = (file: Source): void => {
    state.set(file.path, 'open');
    trail.push(file.path);
    for (const edge of file.imports) {
      if (edge.specifier === undefined || !isRelative(edge.specifier)) continue;
      const target = byPath.get(resolveRelative(file.path, edge.specifier));
      if (target === undefined || edge.kind === 'url') continue;
      if (state.get(target.path) === 'open') {
        const cycle = [...trail.slice(trail.indexOf(target.path)), target.path];
        found.push(finding(file, edge.start, `import cycle ${cycle.join(' -> ')}`));
      } else if (state.get(target.path) === undefined) visit(target);
    }
    trail.pop();
    state.set(file.path, 'done');
  };
  for (const file of files) if (state.get(file.path) === undefined) visit(file);
  return found;
}

/** No `export *` and no file of re-exports only, but the public faces. */
export function barrelFindings(files: readonly Source[]): Finding[] {
  const found: Finding[] = [];
  for (const file of files) {
    if (faces.has(file.path)) continue;
    const body = file.program.body as Source['program'][];
    const reExports = body.filter((node) => node.type.startsWith('Export') && node.source != null);
    const star = reExports.find((node) => node.type === 'ExportAllDeclaration');
    if (star !== undefined) found.push(finding(file, star.start, 'export * outside the public face'));
    const others = body.filter((node) => !reExports.includes(node) && node.type !== 'ImportDeclaration');
    if (reExports.length > 0 && others.length === 0) found.push(finding(file, 0, 'file only re-exports'));
  }
  return found;
}

/** Platform modules and packages: who may import what. */
export function moduleFindings(files: readonly Source[]): Finding[] {
  const found: Finding[] = [];
  for (const file of files.filter((one) => isEngine(one.path))) {
    for (const edge of file.imports) {
      const message = moduleFault(file.path, edge);
      if (message !== undefined) found.push(finding(file, edge.start, message));
    }
  }
  return found;
}

function moduleFault(path: string, edge: Import): string | undefined {
  const { specifier, kind } = edge;
  if (specifier === undefined) return kind === 'url' ? undefined : 'computed import specifier';
  if (isRelative(specifier) || kind === 'url') return undefined;
  if (specifier === 'msgpackr' || (specifier.startsWith('msgpackr/') && !/\/(un)?pack$/.test(specifier))) {
    return `${specifier}: import msgpackr/pack or msgpackr/unpack, the main entry loads a native add-on`;
  }
  for (const { modules, allowed, why } of restricted) {
    if (modules.test(specifier) && !allowed.test(path))
      return `${specifier} may not be imported here: ${why}`;
  }
  if (isPure(path) && specifier.startsWith('node:')) {
    const excused = pureExceptions.some((one) => one.module === specifier && one.path.test(path));
    if (!excused) return `${specifier} in a pure file`;
  }
  return undefined;
}

/** Every package a file imports is declared, and the engine's own are not merely for development. */
export function dependencyFindings(
  files: readonly Source[],
  manifest: Readonly<Record<string, Readonly<Record<string, string>> | undefined>>,
): Finding[] {
  const shipped = new Set(
    [manifest.dependencies, manifest.optionalDependencies, manifest.peerDependencies].flatMap((one) =>
      Object.keys(one ?? {}),
    ),
  );
  const development = new Set(Object.keys(manifest.devDependencies ?? {}));
  const found: Finding[] = [];
  for (const file of files) {
    for (const { specifier, start, kind } of file.imports) {
      if (specifier === undefined || kind === 'url' || isRelative(specifier)) continue;
      if (specifier.startsWith('node:') || specifier === 'varve' || specifier.startsWith('varve/')) continue;
      const name = specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
      if (shipped.has(name) || (!isEngine(file.path) && development.has(name))) continue;
      found.push(finding(file, start, `package ${name} is not declared in package.json for this use`));
    }
  }
  return found;
}
