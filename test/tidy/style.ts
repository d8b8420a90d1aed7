/** Sizes, forbidden constructs, marks left in comments, docstrings, error codes, paths of a machine. */
import {
  dotted,
  type Finding,
  finding,
  isNode,
  lineOf,
  type Node,
  resolveRelative,
  type Source,
  walk,
} from './source.ts';

export const fileLinesMax = 400;
export const functionLinesMax = 70;
export const columnsMax = 110;

/** Files and functions (`path#name`) that may be longer, and why. */
export const sizeExceptions: Readonly<Record<string, string>> = {};

const functionTypes = new Set(['FunctionDeclaration', 'FunctionExpression', 'ArrowFunctionExpression']);
const isGenerated = (path: string): boolean => path.endsWith('.generated.ts');
const isEngine = (path: string): boolean => path.startsWith('src/') || path.startsWith('native-free/');

/**
 * Length of files and lines everywhere, of functions outside the tests (a `describe` holds many). A line that
 * is one word, such as golden bytes, cannot be broken and may be longer.
 */
export function sizeFindings(
  files: readonly Source[],
  exceptions: Readonly<Record<string, string>> = sizeExceptions,
): Finding[] {
  const found: Finding[] = [];
  for (const file of files) {
    if (isGenerated(file.path)) continue;
    const lines = file.text.split('\n');
    const length = lines.at(-1) === '' ? lines.length - 1 : lines.length;
    if (length > fileLinesMax && exceptions[file.path] === undefined) {
      found.push({ path: file.path, line: length, message: `file has ${length} lines` });
    }
    lines.forEach((text, i) => {
      if (text.length > columnsMax && text.trim().includes(' ')) {
        found.push({ path: file.path, line: i + 1, message: `line has ${text.length} columns` });
      }
    });
    if (!file.path.startsWith('test/')) found.push(...longFunctions(file, exceptions));
  }
  return found;
}

function longFunctions(file: Source, exceptions: Readonly<Record<string, string>>): Finding[] {
  const found: Finding[] = [];
  walk(file.program, (node, ancestors) => {
    if (!functionTypes.has(node.type)) return;
    const length = lineOf(file, node.end) - lineOf(file, node.start) + 1;
    const name = functionName(node, ancestors.at(-1));
    if (length > functionLinesMax && exceptions[`${file.path}#${name}`] === undefined) {
      found.push(finding(file, node.start, `function ${name} has ${length} lines`));
    }
  });
  return found;
}

function functionName(node: Node, parent: Node | undefined): string {
  for (const holder of [node.id, parent?.key, parent?.id]) {
    if (isNode(holder) && typeof holder.name === 'string') return holder.name;
  }
  return 'anonymous';
}

/** Empty catches, `any`, focused or skipped tests, default exports of the engine. */
export function forbiddenFindings(files: readonly Source[]): Finding[] {
  const found: Finding[] = [];
  for (const file of files) {
    walk(file.program, (node) => {
      const message = forbidden(file.path, node);
      if (message !== undefined) found.push(finding(file, node.start, message));
    });
  }
  return found;
}

function forbidden(path: string, node: Node): string | undefined {
  if (node.type === 'CatchClause' && isEmptyBlock(node.body)) return 'empty catch';
  if (node.type === 'TSAnyKeyword') return 'any';
  if (node.type === 'ExportDefaultDeclaration' && isEngine(path)) return 'default export';
  if (node.type === 'CallExpression' && isSwallowingCatch(node))
    return 'rejection swallowed by an empty catch';
  if (node.type === 'MemberExpression' && path.startsWith('test/')) {
    const name = dotted(node);
    if (name !== undefined && /^(test|it|describe|bench)(\.\w+)*\.(only|skip|todo)$/.test(name)) return name;
  }
  return undefined;
}

const isEmptyBlock = (node: unknown): boolean =>
  isNode(node) && node.type === 'BlockStatement' && (node.body as unknown[]).length === 0;

function isSwallowingCatch(node: Node): boolean {
  const callee = node.callee as Node;
  if (callee.type !== 'MemberExpression' || (callee.property as Node).name !== 'catch') return false;
  const handler = (node.arguments as Node[])[0];
  return handler !== undefined && functionTypes.has(handler.type) && isEmptyBlock(handler.body);
}

/** Work left undone belongs in an issue, not in a comment. */
export function markFindings(files: readonly Source[]): Finding[] {
  return files.flatMap((file) =>
    file.comments
      .filter((comment) => /\b(TODO|FIXME|XXX|HACK)\b/.test(comment.value))
      .map((comment) => finding(file, comment.start, 'unfinished-work mark in a comment')),
  );
}

/** Exported declarations without a docstring, by file and name. Re-exports are not declarations. */
export function undocumentedExports(file: Source): { name: string; start: number }[] {
  const bare: { name: string; start: number }[] = [];
  let coveredTo = -1;
  for (const node of file.program.body as Node[]) {
    const declaration = node.declaration;
    if (node.type !== 'ExportNamedDeclaration' || !isNode(declaration)) continue;
    const adjoins = coveredTo !== -1 && file.text.slice(coveredTo, node.start).trim() === '';
    const oneBlock = adjoins && !file.text.slice(coveredTo, node.start).includes('\n\n');
    if (hasDocstring(file, node) || oneBlock) coveredTo = node.end;
    else for (const name of declaredNames(declaration)) bare.push({ name, start: node.start });
  }
  return bare;
}

function hasDocstring(file: Source, node: Node): boolean {
  return file.comments.some(
    (comment) =>
      comment.type === 'Block' &&
      comment.value.startsWith('*') &&
      comment.end <= node.start &&
      file.text.slice(comment.end, node.start).trim() === '' &&
      !file.text.slice(comment.end, node.start).includes('\n\n'),
  );
}

function declaredNames(declaration: Node): string[] {
  const holders =
    declaration.type === 'VariableDeclaration' ? (declaration.declarations as Node[]) : [declaration];
  return holders.map((holder) => String((holder.id as Node).name ?? 'pattern'));
}

/** Every name the public faces export is documented where it is declared. */
export function publicDocFindings(files: readonly Source[], faces: readonly string[]): Finding[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const found: Finding[] = [];
  for (const file of faces.flatMap((path) => byPath.get(path) ?? [])) {
    for (const { name, start } of undocumentedExports(file)) {
      found.push(finding(file, start, `export ${name} has no docstring`));
    }
    for (const node of file.program.body as Node[]) {
      if (!node.type.startsWith('Export') || !isNode(node.source)) continue;
      const target = byPath.get(resolveRelative(file.path, String(node.source.value)));
      if (target === undefined) continue;
      const wanted = ((node.specifiers ?? []) as Node[]).map((one) => String((one.local as Node).name));
      for (const { name, start } of undocumentedExports(target)) {
        if (node.type === 'ExportAllDeclaration' || wanted.includes(name)) {
          found.push(finding(target, start, `export ${name} has no docstring and is public`));
        }
      }
    }
  }
  return found;
}

/** `VARVE_…` names used by the engine that are not error codes. */
export function errorCodeFindings(
  files: readonly Source[],
  codes: Readonly<Record<string, string>>,
  otherNames: ReadonlySet<string> = new Set(),
): Finding[] {
  const found: Finding[] = [];
  for (const file of files.filter((one) => isEngine(one.path))) {
    for (const match of file.text.matchAll(/\bVARVE_[A-Z_]*[A-Z]\b/g)) {
      if (codes[match[0]] === undefined && !otherNames.has(match[0])) {
        found.push(finding(file, match.index, `${match[0]} is not an error code`));
      }
    }
  }
  return found;
}

const machinePath = /(?<![\w.~@-])(?:\/(?:work|home|root|Users)\/|[A-Z]:\\Users\\)/g;

/** Paths that exist on one machine only. Takes any text file. */
export function machinePathFindings(files: readonly { path: string; text: string }[]): Finding[] {
  return files.flatMap((file) =>
    Array.from(file.text.matchAll(machinePath), (match) => ({
      path: file.path,
      line: lineOf(file, match.index),
      message: `path of a machine: ${match[0]}`,
    })),
  );
}
