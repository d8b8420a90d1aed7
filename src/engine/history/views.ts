/**
 * The open views of a store: what each of them sees is kept until it is closed, forgotten or too old.
 *
 * Invariants (test/engine/read-view.test.ts)
 * - A view that nobody has any more gives back its number, and the log says where it was opened ("a view that
 *   is forgotten is released and reported").
 * - A view that is too old reads nothing and holds nothing ("a view that is too old is refused").
 */
import type { Seq } from '../../base/brands.ts';
import type { Clock } from '../../base/clock.ts';
import { VarveError } from '../../base/errors.ts';
import type { Logger } from '../options.ts';
import type { Pin, ReadMarks } from '../reading/read-marks.ts';
import type { AskedMoment } from './point.ts';

export interface ViewsOptions {
  readonly marks: ReadMarks;
  readonly clock: Clock;
  readonly logger: Logger;
  /** 0 = views grow as old as they like. */
  readonly maxAgeMs: number;
}

/** One view, shared by its faces for several spaces. */
export class HeldView {
  readonly moment: AskedMoment;
  readonly openedMs: number;
  /** Objects through which it is read. */
  faces = 0;
  readonly #pin: Pin;
  readonly #openedAt: Error;
  #state: 'open' | 'closed' | 'expired' = 'open';
  readonly #onEnd: (view: HeldView) => void;

  constructor(moment: AskedMoment, pin: Pin, openedMs: number, onEnd: (view: HeldView) => void) {
    this.moment = moment;
    this.openedMs = openedMs;
    this.#pin = pin;
    this.#onEnd = onEnd;
    // Its text is made only when somebody asks for it.
    this.#openedAt = new Error('opened here');
  }

  /** Where it was opened. */
  get openedAt(): string {
    return this.#openedAt.stack ?? 'unknown';
  }

  /** VARVE_CLOSED, VARVE_SNAPSHOT_EXPIRED. */
  assertOpen(): void {
    if (this.#state === 'closed') throw new VarveError('VARVE_CLOSED', 'the view is closed');
    if (this.#state === 'expired') {
      throw new VarveError('VARVE_SNAPSHOT_EXPIRED', 'the view is older than maxViewAgeMs');
    }
  }

  get isOpen(): boolean {
    return this.#state === 'open';
  }

  end(state: 'closed' | 'expired' = 'closed'): void {
    if (this.#state !== 'open') return;
    this.#state = state;
    this.#pin.end();
    this.#onEnd(this);
  }
}

export class Views {
  readonly #options: ViewsOptions;
  readonly #open = new Set<HeldView>();
  readonly #forgotten = new FinalizationRegistry<HeldView>((view) => this.#forget(view));

  constructor(options: ViewsOptions) {
    this.#options = options;
  }

  /** Opens a view of a moment that something keeps now. */
  open(moment: AskedMoment): HeldView {
    const { marks, clock } = this.#options;
    const view = new HeldView(moment, marks.pin(moment.seq), clock.monotonic(), (ended) =>
      this.#open.delete(ended),
    );
    this.#open.add(view);
    return view;
  }

  /** Ends the view when this and all its other faces are collected. */
  watch(face: object, view: HeldView): void {
    view.faces++;
    this.#forgotten.register(face, view);
  }

  /** What is kept of the state after that commit because of an open view; undefined = nothing. */
  at(seq: Seq): AskedMoment | undefined {
    for (const { moment } of this.#open) if (moment.seq === seq) return moment;
    return undefined;
  }

  /** Ends views that are too old. */
  sweep(): void {
    const { maxAgeMs, clock } = this.#options;
    if (maxAgeMs === 0 || this.#open.size === 0) return;
    const oldest = clock.monotonic() - maxAgeMs;
    for (const view of this.#open) if (view.openedMs < oldest) view.end('expired');
  }

  /** The open views, in the order they were opened. */
  list(): readonly HeldView[] {
    return Array.from(this.#open);
  }

  /** ms since it was opened. */
  ageOf(view: HeldView): number {
    return this.#options.clock.monotonic() - view.openedMs;
  }

  get count(): number {
    return this.#open.size;
  }

  /** Age of the oldest open view, ms; 0 where there is none. */
  get oldestMs(): number {
    let age = 0;
    const now = this.#options.clock.monotonic();
    for (const view of this.#open) age = Math.max(age, now - view.openedMs);
    return age;
  }

  #forget(view: HeldView): void {
    view.faces--;
    if (!view.isOpen || view.faces > 0) return;
    const { logger } = this.#options;
    view.end();
    logger.warn?.('a view was forgotten: close it, or declare it with `using`', {
      seq: view.moment.seq,
      openedAt: view.openedAt,
    });
  }
}
