/** What clocks on the wall show in a time zone, and back: pure, by the runtime's tables. */
import { invalid } from '../base/errors.ts';

const dayMs = 86_400_000;
/** No zone is further from UTC than this. */
const offsetMsMax = 15 * 3_600_000;

const formats = new Map<string, Intl.DateTimeFormat>();

function formatOf(timeZone: string): Intl.DateTimeFormat {
  const known = formats.get(timeZone);
  if (known !== undefined) return known;
  const made = new Intl.DateTimeFormat('en-US', {
    timeZone,
    calendar: 'iso8601',
    numberingSystem: 'latn',
    hour: 'numeric',
    timeZoneName: 'longOffset',
  });
  formats.set(timeZone, made);
  return made;
}

/** VARVE_INVALID_ARGUMENT unless the runtime knows the IANA name. */
export function checkTimeZone(timeZone: string): void {
  try {
    if (typeof timeZone !== 'string' || timeZone === '') throw new RangeError('no name');
    formatOf(timeZone);
  } catch (error) {
    if (error instanceof RangeError) throw invalid(`${timeZone} is no time zone`);
    throw error;
  }
}

/** One zone. `wall` times are ms as if the clock on the wall showed UTC. */
export class LocalTime {
  readonly #format: Intl.DateTimeFormat;

  /** `timeZone` has been checked. */
  constructor(timeZone: string) {
    this.#format = formatOf(timeZone);
  }

  /** Ms that clocks are ahead of UTC at a moment. */
  offset(ms: number): number {
    const name = this.#format.formatToParts(ms).find(({ type }) => type === 'timeZoneName')!.value;
    const match = /^GMT(?:([+-])(\d{2}):(\d{2})(?::(\d{2}))?)?$/.exec(name);
    if (match === null) return 0;
    const [, sign, hours = '0', minutes = '0', seconds = '0'] = match;
    const size = (Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds)) * 1000;
    return sign === '-' ? -size : size;
  }

  /** The offset all through the day that begins at `wall`; undefined when clocks are changed about then. */
  steadyOffset(wall: number): number | undefined {
    const before = this.offset(wall - offsetMsMax);
    return before === this.offset(wall + dayMs + offsetMsMax) ? before : undefined;
  }

  /**
   * When clocks show `wall`. Without `real`: one moment, the first of two, and for a time that is skipped the
   * moment of the change. With `real`: all there are, so none or two as well.
   */
  momentsOf(wall: number, real: boolean): number[] {
    const before = this.offset(wall - offsetMsMax);
    const after = this.offset(wall + offsetMsMax);
    const moments = [...new Set([wall - before, wall - after])]
      .filter((ms) => ms + this.offset(ms) === wall)
      .sort((a, b) => a - b);
    if (real) return moments;
    if (moments.length > 0) return moments.slice(0, 1);
    return [this.#changeAfter(wall - offsetMsMax, wall + offsetMsMax)];
  }

  /** The moment between the two at which the offset becomes what it is at `to`. */
  #changeAfter(from: number, to: number): number {
    let low = from;
    let high = to;
    const last = this.offset(to);
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (this.offset(middle) === last) high = middle;
      else low = middle;
    }
    return high;
  }
}
