/** The table of error codes in docs/GLOSSARY.md and the one in src/base/errors.ts are the same. */

/** The rows docs/GLOSSARY.md must have, in this order. */
export function errorRows(
  codes: Readonly<Record<string, string>>,
  retryable: (code: string) => boolean,
): string[] {
  return Object.entries(codes).map(
    ([code, meaning]) => `| \`${code}\` | ${meaning} | ${retryable(code) ? 'yes' : 'no'} |`,
  );
}

/** The rows it has. */
export function errorRowsIn(text: string): string[] {
  return text.split('\n').filter((line) => line.startsWith('| `VARVE_'));
}
