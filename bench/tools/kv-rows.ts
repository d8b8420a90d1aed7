/** The rows of the comparison: names, units, and how much work each does. */

/** What one row of the table measures. */
export interface Row {
  readonly name: string;
  readonly title: string;
  readonly unit: '/s' | 'ms' | 'MB';
  /** The process that measures it; rows of one group share the store they load. */
  readonly group: string;
}

/** How much work a round does. */
export interface Scale {
  /** Keys of 100 B, 1 KiB and 16 KiB that are loaded before reads. */
  readonly small: number;
  readonly medium: number;
  readonly large: number;
  /** Seconds of each row that has no natural end. */
  readonly seconds: number;
}

/** What the table is made from; takes minutes a round. */
export const fullScale: Scale = { small: 1_000_000, medium: 200_000, large: 20_000, seconds: 1.5 };

/** Shows that everything runs; its figures are rough. */
export const quickScale: Scale = { small: 50_000, medium: 10_000, large: 2000, seconds: 0.25 };

/** Keys of the `hot` rows: few enough for every system's own cache. */
export const hotKeys = 1000;

/** In the order of the table. `/s` is better when higher, the others when lower. */
export const rows: readonly Row[] = [
  { name: 'get100', title: 'getSync 100 B, all keys', unit: '/s', group: 'small' },
  { name: 'hot100', title: 'getSync 100 B, 1000 keys', unit: '/s', group: 'small' },
  { name: 'get1k', title: 'getSync 1 KiB, all keys', unit: '/s', group: 'medium' },
  { name: 'hot1k', title: 'getSync 1 KiB, 1000 keys', unit: '/s', group: 'medium' },
  { name: 'get16k', title: 'getSync 16 KiB, all keys', unit: '/s', group: 'large' },
  { name: 'hot16k', title: 'getSync 16 KiB, 1000 keys', unit: '/s', group: 'large' },
  { name: 'get64', title: 'get 100 B, 64 readers', unit: '/s', group: 'small' },
  { name: 'hot64', title: 'get 100 B, 64 readers, 1000 keys', unit: '/s', group: 'small' },
  { name: 'missing', title: 'getSync of missing keys', unit: '/s', group: 'small' },
  { name: 'scan', title: 'full scan 100 B', unit: '/s', group: 'small' },
  { name: 'put', title: 'put 100 B, not durable', unit: '/s', group: 'put' },
  { name: 'batch', title: 'batches of 1000 x 100 B, not durable', unit: '/s', group: 'small' },
  { name: 'durable64', title: 'durable put 100 B, 64 writers', unit: '/s', group: 'durable' },
  { name: 'durable64-16k', title: 'durable put 16 KiB, 64 writers', unit: '/s', group: 'durable-large' },
  { name: 'durable1', title: 'durable put 100 B, one writer', unit: '/s', group: 'durable' },
  { name: 'open', title: 'open after close, to the first answer', unit: 'ms', group: 'small' },
  { name: 'open-killed', title: 'open after a kill, to the first answer', unit: 'ms', group: 'killed' },
  { name: 'disk', title: 'disk after close', unit: 'MB', group: 'small' },
];

/** The rows `names` asks for, all when empty; an unknown name throws. */
export function rowsNamed(names: readonly string[]): readonly Row[] {
  for (const name of names) {
    if (!rows.some((row) => row.name === name)) {
      throw new Error(`no row is named ${name}; there are ${rows.map((row) => row.name).join(', ')}`);
    }
  }
  return names.length === 0 ? rows : rows.filter(({ name }) => names.includes(name));
}
