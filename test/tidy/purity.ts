/** What the pure tiers may not touch: clocks, randomness, timers, the process, the console. */
import { isPure } from './layers.ts';
import { dotted, type Finding, finding, isNode, type Node, type Source, walk } from './source.ts';

/** Globals whose value depends on the outside world or that act on it. */
const impureGlobals = new Set([
  'process',
  'performance',
  'setTimeout',
  'setInterval',
  'setImmediate',
  'clearTimeout',
  'clearInterval',
  'clearImmediate',
  'queueMicrotask',
  'fetch',
  'navigator',
]);

const impureMembers = new Set(['Math.random', 'Date.now', 'crypto.getRandomValues', 'crypto.randomUUID']);

/** Pure files that may build a Date from a given number. `Date.now` and `new Date()` are never allowed. */
export const dateExceptions: Readonly<Record<string, string>> = {
  'src/codec/msgpack.ts': 'user metadata holds Dates; decoding makes one from stored milliseconds',
  'src/format/index-key.ts': 'indexes order Dates; decoding makes one from stored milliseconds',
};

/** T0 to T2 and every planner: no clock, randomness, timer, process. */
export function purityFindings(files: readonly Source[]): Finding[] {
  const found: Finding[] = [];
  for (const file of files.filter((one) => isPure(one.path))) {
    walk(file.program, (node, ancestors) => {
      const message = impurity(file.path, node, ancestors);
      if (message !== undefined) found.push(finding(file, node.start, `${message} in a pure file`));
    });
  }
  return found;
}

function impurity(path: string, node: Node, ancestors: readonly Node[]): string | undefined {
  const parent = ancestors.at(-1);
  if (node.type === 'MemberExpression') {
    const name = dotted(node)?.replace(/^globalThis\./, '');
    if (name !== undefined && (impureMembers.has(name) || impureGlobals.has(name))) return name;
    return undefined;
  }
  if (node.type !== 'Identifier' || !isValueUse(node, parent)) return undefined;
  const name = String(node.name);
  if (impureGlobals.has(name)) return name;
  return name === 'Date' ? dateUse(path, node, parent) : undefined;
}

function dateUse(path: string, node: Node, parent: Node | undefined): string | undefined {
  if (parent === undefined) return undefined;
  if (parent.type === 'BinaryExpression' && parent.operator === 'instanceof' && parent.right === node) {
    return undefined;
  }
  if (parent.type === 'MemberExpression') return undefined;
  const args = (parent.arguments ?? []) as unknown[];
  if (parent.type === 'NewExpression' && args.length > 0 && dateExceptions[path] !== undefined)
    return undefined;
  return parent.type === 'NewExpression' ? 'new Date' : 'Date';
}

/** False for property names, keys, labels and types, which only look like a global. */
function isValueUse(node: Node, parent: Node | undefined): boolean {
  if (parent === undefined) return true;
  if (
    parent.type.startsWith('TS') &&
    parent.type !== 'TSAsExpression' &&
    parent.type !== 'TSNonNullExpression'
  ) {
    return false;
  }
  if (parent.type === 'MemberExpression') return parent.object === node || parent.computed === true;
  const isKey = isNode(parent.key) && parent.key === node && parent.computed !== true;
  return !(isKey && parent.shorthand !== true);
}

/** No logging: the engine is silent unless it is given a logger; the command line prints. */
export function consoleFindings(files: readonly Source[]): Finding[] {
  const found: Finding[] = [];
  for (const file of files) {
    if (!/^(src|native-free)\//.test(file.path) || file.path.startsWith('src/cli/')) continue;
    walk(file.program, (node) => {
      if (node.type === 'MemberExpression' && dotted(node)?.startsWith('console.')) {
        found.push(finding(file, node.start, 'console used; take a logger'));
      }
    });
  }
  return found;
}
