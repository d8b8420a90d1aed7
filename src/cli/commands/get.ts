/** varve get: one value to stdout or into a file. */
import { randomBytes } from 'node:crypto';
import { open, rename, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Command } from 'commander';
import { encodeUtf8, toHex } from '../../base/bytes.ts';
import { throwIfAborted } from '../../engine/key-args.ts';
import type { At, Engine } from '../../index.ts';
import { exitCodes } from '../exit-codes.ts';
import { examples, type KeyOptions, withKeyOptions } from '../options.ts';
import { type AtOptions, readAt, spaceAt, withAt } from '../point.ts';
import { noSuchKey, type Runner, readStore, type Session } from '../session.ts';
import { errorFields, keyArgument, keyFields } from '../text.ts';

interface Options extends KeyOptions, AtOptions {
  output?: string;
}

export function addGet(program: Command, runner: Runner): void {
  const command = program
    .command('get')
    .description('Write a value to stdout, byte for byte, or into a file.')
    .argument('<store>', 'directory of the store')
    .argument('<key>', 'key of the value')
    .option('-o, --output <file>', 'write into this file; it appears whole or not at all')
    .addHelpText(
      'after',
      examples('varve get ./data report.pdf -o report.pdf', 'varve get ./data now | wc -c'),
    );
  withAt(withKeyOptions(command)).action((store: string, key: string, options: Options) =>
    runner.run(options, (session) => get(session, store, key, options)),
  );
}

async function get(session: Session, store: string, keyText: string, options: Options): Promise<number> {
  const key = keyArgument(keyText, options.hex);
  return await readStore(session, store, async (engine) => {
    const space = spaceAt(engine, options.space, options.at);
    const found = await space.stat(key, readAt(options.at));
    if (found === undefined) throw noSuchKey(key);
    const { output } = options;
    if (output !== undefined && output !== '-') {
      await intoFile(output, pieces(session, space, key, options.at));
      const { size, digest, seq } = found;
      if (session.json)
        await session.out.json({ type: 'got', ...fieldsOf(key), file: output, size, digest, seq });
    } else if (session.json) await asJson(session, pieces(session, space, key, options.at), key, found.size);
    else {
      for await (const piece of pieces(session, space, key, options.at)) {
        await session.out.bytes(piece);
        if (session.out.closed) break;
      }
    }
    return exitCodes.done;
  });
}

function fieldsOf(key: string | Uint8Array): object {
  return keyFields(typeof key === 'string' ? encodeUtf8(key) : key);
}

async function* pieces(
  session: Session,
  space: Engine,
  key: string | Uint8Array,
  at: At | undefined,
): AsyncGenerator<Uint8Array> {
  const { signal } = session.io;
  for await (const piece of space.stream(key, { signal, ...readAt(at) })) {
    throwIfAborted(signal);
    yield piece;
  }
}

/** The value in base64 inside one JSON object, written as it is read: no length is too long for memory. */
async function asJson(
  session: Session,
  content: AsyncIterable<Uint8Array>,
  key: string | Uint8Array,
  size: number,
): Promise<void> {
  const { out } = session;
  const head = JSON.stringify({ type: 'value', ...fieldsOf(key), size });
  await out.text(`${head.slice(0, -1)},"base64":"`);
  let rest = new Uint8Array(0);
  try {
    for await (const piece of content) {
      const joined = Buffer.concat([rest, piece]);
      const whole = joined.length - (joined.length % 3);
      await out.text(joined.toString('base64', 0, whole));
      rest = new Uint8Array(joined.subarray(whole));
    }
  } catch (error) {
    await out.line(`","error":${JSON.stringify(errorFields(error))}}`);
    throw error;
  }
  await out.line(`${Buffer.from(rest).toString('base64')}"}`);
}

/** Writes beside the target, then renames over it: nobody ever sees a part of the value under that name. */
async function intoFile(file: string, content: AsyncIterable<Uint8Array>): Promise<void> {
  const temporary = join(dirname(file), `.${basename(file)}.${toHex(randomBytes(6))}.tmp`);
  const handle = await open(temporary, 'wx', 0o666);
  try {
    try {
      for await (const piece of content) await handle.writeFile(piece);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (error) {
    await unlink(temporary);
    throw error;
  }
}
