/**
 * The engine, loaded when a command comes to need it: help, versions and mistakes in arguments are told
 * without. Commands import no more than types from it.
 */
export function loadVarve(): Promise<typeof import('../index.ts')> {
  return import('../index.ts');
}
