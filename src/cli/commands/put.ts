/** varve put: one value from a file or stdin. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { addAbortSignal, type Readable } from 'node:stream';
import type { Command } from 'commander';
import { encodeUtf8 } from '../../base/bytes.ts';
import { invalid, VarveError } from '../../base/errors.ts';
import type { PutOptions, UserMetadata } from '../../index.ts';
import { exitCodes } from '../exit-codes.ts';
import {
  collect,
  collectMetadata,
  examples,
  type KeyOptions,
  wholeNumber,
  withKeyOptions,
} from '../options.ts';
import { type Runner, type Session, spaceOf, writeStore } from '../session.ts';
import { errnoOf, keyArgument, keyFields, plainText, sizeText } from '../text.ts';

interface Options extends KeyOptions {
  contentType?: string;
  tag?: string[];
  meta?: UserMetadata;
  ifSeq?: number;
  sha256?: boolean;
}

export function addPut(program: Command, runner: Runner): void {
  const command = program
    .command('put')
    .description('Store a value under a key. Makes the store when there is none.')
    .argument('<store>', 'directory of the store')
    .argument('<key>', 'key of the value')
    .argument('[file]', "file to read; '-' or nothing reads stdin")
    .option('--content-type <type>', 'kept with the value')
    .option('--tag <tag>', 'kept with the value; may be given several times', collect)
    .option(
      '--meta <name=text|json>',
      'metadata: a field, or a JSON object; may be given several times',
      collectMetadata,
    )
    .option(
      '--if-seq <seq>',
      "only if this is the key's sequence number; 0 = only if there is no such key",
      wholeNumber,
    )
    .option('--sha256', 'also keep the SHA-256 of the whole value')
    .addHelpText(
      'after',
      examples(
        'varve put ./data report.pdf ~/report.pdf --content-type application/pdf',
        'date | varve put ./data now',
        'varve put ./data a.json a.json --meta author=Ann --meta \'{"pages":3}\'',
      ),
    );
  withKeyOptions(command).action((store: string, key: string, file: string | undefined, options: Options) =>
    runner.run(options, (session) => put(session, store, key, file, options)),
  );
}

async function put(
  session: Session,
  store: string,
  keyText: string,
  file: string | undefined,
  options: Options,
): Promise<number> {
  const key = keyArgument(keyText, options.hex);
  // Before the store is opened: a wrong file name must not leave an empty store behind.
  // An interrupt must not wait for input that never comes.
  const input = addAbortSignal(session.io.signal, await openInput(session, file));
  const { contentType, meta: metadata, tag: tags, ifSeq, sha256 } = options;
  const given: PutOptions = { contentType, metadata, tags, ifSeq, sha256, signal: session.io.signal };
  for (const name of Object.keys(given) as (keyof PutOptions)[])
    if (given[name] === undefined) delete given[name];
  try {
    return await writeStore(session, store, true, async (engine) => {
      const result = await spaceOf(engine, options.space, false).put(key, input, given);
      const bytes = typeof key === 'string' ? encodeUtf8(key) : key;
      if (session.json) await session.out.json({ type: 'put', ...keyFields(bytes), ...result });
      else {
        const stored = result.chunks === 0 ? 'inline' : `${result.newChunks} of ${result.chunks} chunks new`;
        await session.out.line(
          `${plainText(keyText)}: ${sizeText(result.size)}, ${stored}, seq ${result.seq}`,
        );
      }
      return exitCodes.done;
    });
  } finally {
    if (input !== session.io.stdin) input.destroy();
  }
}

async function openInput(session: Session, file: string | undefined): Promise<Readable> {
  if (file === undefined || file === '-') return session.io.stdin;
  try {
    if ((await stat(file)).isDirectory())
      throw invalid(`${file} is a directory; store one with: varve import`, { file });
  } catch (error) {
    if (errnoOf(error) === 'ENOENT')
      throw new VarveError('VARVE_NOT_FOUND', `${file}: no such file`, { file, cause: error });
    throw error;
  }
  const input = createReadStream(file, { highWaterMark: 512 * 1024 });
  await new Promise<void>((resolve, reject) => {
    input.once('open', () => resolve());
    input.once('error', reject);
  });
  return input;
}
