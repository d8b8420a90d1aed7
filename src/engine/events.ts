/** What an engine tells those who listen. */
import { invalid } from '../base/errors.ts';
import type { Key } from './types.ts';

/** Events by name, with what listeners are given. */
export interface EngineEvents {
  /** A key whose time to live was over has been deleted; `space` is undefined for the store's own keys. */
  expired: { readonly key: Key; readonly space: string | undefined };
}

/** Called with what happened; must not throw, and what it throws is logged. */
export type Listener<E extends keyof EngineEvents> = (event: EngineEvents[E]) => void;

/** Listeners of one store. One that throws is reported to `onError`, and the others are told all the same. */
export class Listeners {
  readonly #expired = new Set<Listener<'expired'>>();
  readonly #onError: (error: unknown) => void;

  constructor(onError: (error: unknown) => void) {
    this.#onError = onError;
  }

  /** VARVE_INVALID_ARGUMENT for an event there is not, or what is no function. */
  add<E extends keyof EngineEvents>(event: E, listener: Listener<E>): void {
    this.#of(event, listener).add(listener as Listener<'expired'>);
  }

  remove<E extends keyof EngineEvents>(event: E, listener: Listener<E>): void {
    this.#of(event, listener).delete(listener as Listener<'expired'>);
  }

  tell(event: EngineEvents['expired']): void {
    for (const listener of Array.from(this.#expired)) {
      try {
        listener(event);
      } catch (error) {
        this.#onError(error);
      }
    }
  }

  #of(event: string, listener: unknown): Set<Listener<'expired'>> {
    if (event !== 'expired') throw invalid(`unknown event ${JSON.stringify(event)}; known: expired`);
    if (typeof listener !== 'function') throw invalid('a listener is a function');
    return this.#expired;
  }
}
