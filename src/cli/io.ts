/**
 * What the command line touches outside the store: three streams, the environment, a signal. Tests give their
 * own, so that a whole command runs inside a test.
 */
import type { Readable, Writable } from 'node:stream';
import { styleText } from 'node:util';

/** The process as a command sees it. */
export interface CliIo {
  readonly stdin: Readable;
  readonly stdout: Writable;
  readonly stderr: Writable;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Fires on SIGINT and SIGTERM; `reason` is the signal's name. */
  readonly signal: AbortSignal;
}

/** True when the stream is a terminal. */
export function isTerminal(stream: Writable): boolean {
  return 'isTTY' in stream && stream.isTTY === true;
}

/** Columns of a terminal; 80 where it does not tell. */
export function columnsOf(stream: Writable): number {
  return 'columns' in stream && typeof stream.columns === 'number' && stream.columns > 0
    ? stream.columns
    : 80;
}

/** Styles used in output. */
export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';
export type Paint = (style: Style, text: string) => string;

/** Colours for `stream`: none unless it is a terminal, and none with NO_COLOR or TERM=dumb. */
export function painter(stream: Writable, env: CliIo['env']): Paint {
  const plain = !isTerminal(stream) || (env.NO_COLOR ?? '') !== '' || env.TERM === 'dumb';
  return plain ? (_style, text) => text : (style, text) => styleText(style, text, { validateStream: false });
}

const bufferedCharsMax = 64 * 1024;

/**
 * Buffered output with back pressure. When the reader goes away (EPIPE, as in `varve ls | head`) the rest is
 * dropped and `closed` is true: listings then end early, work goes on.
 *
 * Invariant: no more than 64 KiB of text is held ("a listing into a slow reader holds one buffer").
 */
export class Output {
  readonly #stream: Writable;
  #text = '';
  #closed = false;
  #failure: Error | undefined;

  constructor(stream: Writable) {
    this.#stream = stream;
    stream.on('error', (error: NodeJS.ErrnoException) => {
      this.#closed = true;
      if (error.code !== 'EPIPE' && error.code !== 'ERR_STREAM_DESTROYED') this.#failure ??= error;
    });
  }

  /** Nobody reads any more. */
  get closed(): boolean {
    return this.#closed;
  }

  async line(text: string): Promise<void> {
    await this.text(`${text}\n`);
  }

  /** One JSON object on a line of its own. */
  async json(value: object): Promise<void> {
    await this.line(JSON.stringify(value, jsonValue));
  }

  async text(text: string): Promise<void> {
    this.#text += text;
    if (this.#text.length >= bufferedCharsMax) await this.flush();
  }

  /** Writes bytes as they are, behind any text before them. Borrows `bytes` until it resolves. */
  async bytes(bytes: Uint8Array): Promise<void> {
    await this.flush();
    await this.#write(bytes);
  }

  /** Hands everything to the stream. Rejects when writing failed for a reason other than a closed pipe. */
  async flush(): Promise<void> {
    const text = this.#text;
    this.#text = '';
    if (text !== '') await this.#write(text);
    if (this.#failure !== undefined) throw this.#failure;
  }

  #write(data: string | Uint8Array): Promise<void> {
    if (this.#closed) return Promise.resolve();
    // The stream's error event, which comes with every error given here, has the reason.
    return new Promise((resolve) => this.#stream.write(data, () => resolve()));
  }
}

/** Numbers of 64 bits and bytes have no form of their own in JSON. */
export function jsonValue(this: unknown, key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString(16).padStart(16, '0');
  const raw = this instanceof Object ? (this as Record<string, unknown>)[key] : value;
  if (raw instanceof Uint8Array) return { base64: Buffer.from(raw).toString('base64') };
  return value;
}
