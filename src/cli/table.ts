/** Looks of the tables printed for people. */
import type { TableConstructorOptions } from 'cli-table3';
import type { Paint } from './io.ts';

const noBorders = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  ',
};

/** Columns without borders. Heads, if any, are bold where there are colours. */
export function plainTable(paint: Paint, head: string[] = []): TableConstructorOptions {
  return {
    head: head.map((text) => paint('bold', text)),
    chars: noBorders,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
  };
}
