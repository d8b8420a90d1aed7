/** Reads the project's own files for the house rules: text, syntax tree, comments and imports of each. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseSync } from 'rolldown/utils';

/** A syntax tree node, as far as the rules look into one. */
export interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly [field: string]: unknown;
}

export interface Comment {
  readonly type: string;
  readonly value: string;
  readonly start: number;
  readonly end: number;
}

/** One import, re-export, dynamic import, type import or `new URL('./x', import.meta.url)`. */
export interface Import {
  /** Undefined when the specifier is computed. */
  readonly specifier: string | undefined;
  readonly kind: 'static' | 'dynamic' | 'type' | 'require' | 'url';
  readonly start: number;
}

export interface Source {
  /** Relative to the project, with '/'. */
  readonly path: string;
  readonly text: string;
  readonly program: Node;
  readonly comments: readonly Comment[];
  readonly imports: readonly Import[];
}

/** A broken rule: where and what. */
export interface Finding {
  readonly path: string;
  readonly line: number;
  readonly message: string;
}

const skippedFolders = new Set(['node_modules', 'dist', 'coverage', '.git', 'fixtures']);

/** Paths of every file below `folder` of the project, sorted; build output and fixtures are left out. */
export function listFiles(root: string, folder = ''): string[] {
  const found: string[] = [];
  for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
    const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory()) {
      if (!skippedFolders.has(entry.name)) found.push(...listFiles(root, path));
    } else if (entry.isFile()) found.push(path);
  }
  return found.sort();
}

/** True for the files that are parsed: our TypeScript and scripts, not AssemblyScript (another language). */
export function isParsed(path: string): boolean {
  return /\.(ts|mts|mjs|js)$/.test(path) && !path.includes('/assembly/');
}

export function loadSources(root: string): Source[] {
  return listFiles(root)
    .filter(isParsed)
    .map((path) => source(path, readFileSync(join(root, path), 'utf8')));
}

/** Parses one file; throws when it is not valid syntax. */
export function source(path: string, text: string): Source {
  const parsed = parseSync(path, text);
  if (parsed.errors.length > 0) throw new Error(`${path}: ${parsed.errors[0]!.message}`);
  const program = parsed.program as unknown as Node;
  return { path, text, program, comments: parsed.comments, imports: importsOf(program) };
}

/** 1-based line of an offset. */
export function lineOf(file: { readonly text: string }, offset: number): number {
  let line = 1;
  for (let at = file.text.indexOf('\n'); at !== -1 && at < offset; at = file.text.indexOf('\n', at + 1))
    line++;
  return line;
}

export function finding(file: Source, offset: number, message: string): Finding {
  return { path: file.path, line: lineOf(file, offset), message };
}

export const isNode = (value: unknown): value is Node =>
  typeof value === 'object' && value !== null && typeof (value as Node).type === 'string';

/** Calls `visit` for every node below `root`, itself included, with its ancestors (nearest last). */
export function walk(root: Node, visit: (node: Node, ancestors: readonly Node[]) => void): void {
  const ancestors: Node[] = [];
  const enter = (node: Node): void => {
    visit(node, ancestors);
    ancestors.push(node);
    for (const value of Object.values(node)) {
      if (Array.isArray(value)) for (const item of value) isNode(item) && enter(item);
      else if (isNode(value)) enter(value);
    }
    ancestors.pop();
  };
  enter(root);
}

/** `a.b.c` of a chain of plain member accesses, undefined for anything else. */
export function dotted(node: unknown): string | undefined {
  if (!isNode(node)) return undefined;
  if (node.type === 'Identifier') return String(node.name);
  if (node.type === 'ThisExpression') return 'this';
  if (node.type === 'MetaProperty') return 'import.meta';
  if (node.type !== 'MemberExpression' || node.computed === true) return undefined;
  const left = dotted(node.object);
  return left === undefined ? undefined : `${left}.${String((node.property as Node).name)}`;
}

function stringValue(node: unknown): string | undefined {
  return isNode(node) && node.type === 'Literal' && typeof node.value === 'string' ? node.value : undefined;
}

const isCreateRequire = (node: unknown): boolean =>
  isNode(node) && node.type === 'CallExpression' && /(^|\.)createRequire$/.test(dotted(node.callee) ?? '');

/** `require` and every variable that holds the result of `createRequire`. */
function requireNames(program: Node): ReadonlySet<string> {
  const names = new Set(['require']);
  walk(program, (node) => {
    if (node.type === 'VariableDeclarator' && isCreateRequire(node.init))
      names.add(dotted(node.id) ?? 'require');
  });
  return names;
}

function isRequire(callee: unknown, names: ReadonlySet<string>): boolean {
  return names.has(dotted(callee) ?? '') || isCreateRequire(callee);
}

function importsOf(program: Node): Import[] {
  const found: Import[] = [];
  const requires = requireNames(program);
  const add = (specifier: unknown, kind: Import['kind'], node: Node): void => {
    found.push({ specifier: stringValue(specifier), kind, start: node.start });
  };
  walk(program, (node) => {
    const args = (node.arguments ?? []) as Node[];
    switch (node.type) {
      case 'ImportDeclaration':
      case 'ExportNamedDeclaration':
      case 'ExportAllDeclaration':
        if (isNode(node.source)) {
          const typeOnly = node.importKind === 'type' || node.exportKind === 'type';
          add(node.source, typeOnly ? 'type' : 'static', node);
        }
        break;
      case 'ImportExpression':
        add(node.source, 'dynamic', node);
        break;
      case 'TSImportType':
        add(node.source, 'type', node);
        break;
      case 'CallExpression':
        if (isRequire(node.callee, requires)) add(args[0], 'require', node);
        break;
      case 'NewExpression':
        if (dotted(node.callee) === 'URL' && dotted(args[1]) === 'import.meta.url') add(args[0], 'url', node);
        break;
    }
  });
  return found;
}

/** The project path a relative specifier names. */
export function resolveRelative(from: string, specifier: string): string {
  const parts = from.split('/').slice(0, -1);
  for (const part of specifier.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '.') parts.push(part);
  }
  return parts.join('/');
}
