/**
 * A copy of the compiled project in a temporary folder, where faults are planted and campaigns run. From a
 * build it copies that build; from the sources it compiles them, so that tests never use a stale build.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { edited, type Plant } from './plant.ts';

const isBuilt = import.meta.filename.endsWith('.js');
/** The root of the project: sources, tests and dependencies. */
export const projectRoot: string = path.resolve(import.meta.dirname, isBuilt ? '../../..' : '../..');

const compilerOptions = {
  noCheck: true,
  declaration: false,
  declarationMap: false,
  sourceMap: false,
  typeRoots: [path.join(projectRoot, 'node_modules/@types')],
};

export class Ground {
  /** Holds `src/` and `test/` as JavaScript; campaigns run in it. */
  readonly dir: string;
  readonly #original = new Map<string, Buffer>();

  /** `campaigns`: those that will run in it; of a build all are there. */
  constructor(campaigns: readonly string[]) {
    this.dir = mkdtempSync(path.join(os.tmpdir(), 'varve-planted-'));
    writeFileSync(path.join(this.dir, 'package.json'), '{"type":"module"}');
    symlinkSync(path.join(projectRoot, 'node_modules'), path.join(this.dir, 'node_modules'));
    if (isBuilt) copyBuild(this.dir);
    else compile(this.dir, ['test/planted/child', ...campaigns.map((name) => `test/campaigns/${name}`)]);
    if (isBuilt || campaigns.includes('sim')) withoutShrinking(this.dir);
  }

  /** Puts the fault in; `clear` takes it out again. */
  plant({ edits }: Plant): void {
    const files = new Set(edits.map(({ file }) => file));
    const work = mkdtempSync(path.join(os.tmpdir(), 'varve-plant-'));
    try {
      for (const file of files) {
        const source = readFileSync(path.join(projectRoot, file), 'utf8');
        const text = edits.filter((edit) => edit.file === file).reduce(edited, source);
        mkdirSync(path.dirname(path.join(work, file)), { recursive: true });
        writeFileSync(path.join(work, file), text);
      }
      transpile(work, Array.from(files));
      for (const file of files) {
        const compiled = file.replace(/\.ts$/, '.js');
        const at = path.join(this.dir, compiled);
        this.#original.set(at, readFileSync(at));
        writeFileSync(at, readFileSync(path.join(work, 'out', compiled)));
      }
    } finally {
      rmSync(work, { recursive: true, force: true });
    }
  }

  clear(): void {
    for (const [file, bytes] of this.#original) writeFileSync(file, bytes);
    this.#original.clear();
  }

  remove(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}

function copyBuild(to: string): void {
  const build = path.join(projectRoot, 'dist');
  cpSync(build, to, { recursive: true, filter: (file) => !/\.(d\.ts|map)$/.test(file) });
}

/** Plans that fail are not made smaller in a ground: whether they fail is all that counts. */
function withoutShrinking(dir: string): void {
  const file = path.join(dir, 'test/campaigns/sim.js');
  const text = readFileSync(file, 'utf8');
  writeFileSync(file, text.replace(/shrinkRunsMax = \d+/, 'shrinkRunsMax = 0'));
}

/** Compiles programs of the project with everything they import. */
function compile(to: string, programs: readonly string[]): void {
  const config = {
    extends: path.join(projectRoot, 'tsconfig.json'),
    compilerOptions: { ...compilerOptions, rootDir: projectRoot, outDir: to },
    include: [],
    files: programs.map((name) => path.join(projectRoot, `${name}.ts`)),
  };
  runCompiler(to, config);
}

/** Takes the types out of single files below `work`; the result is in `work`/out. */
function transpile(work: string, files: readonly string[]): void {
  writeFileSync(path.join(work, 'package.json'), '{"type":"module"}');
  runCompiler(work, {
    extends: path.join(projectRoot, 'tsconfig.json'),
    compilerOptions: { ...compilerOptions, noResolve: true, types: [], rootDir: work, outDir: `${work}/out` },
    include: [],
    files,
  });
}

function runCompiler(dir: string, config: object): void {
  writeFileSync(path.join(dir, 'tsconfig.json'), JSON.stringify(config));
  const program = path.join(projectRoot, 'node_modules/typescript/bin/tsc');
  try {
    execFileSync(process.execPath, [program, '-p', dir], { stdio: 'pipe' });
  } catch (error) {
    const said = (error as { stdout?: Buffer }).stdout?.toString() ?? '';
    throw new Error(`the compiler refuses a planted file: ${said}`, { cause: error });
  }
}
