/** A view of a file system that differs from it in a few calls. */
import type { FsPort } from './port.ts';

/** `fs` (borrowed) with `changes` in the place of its own calls; the others are passed on to it. */
export function alteredPort(fs: FsPort, changes: Partial<FsPort>): FsPort {
  return {
    root: fs.root,
    caps: fs.caps,
    open: (path, mode) => fs.open(path, mode),
    openSync: (path) => fs.openSync(path),
    mkdir: (path) => fs.mkdir(path),
    rename: (from, to) => fs.rename(from, to),
    link: (from, to) => fs.link(from, to),
    unlink: (path) => fs.unlink(path),
    rmdir: (path) => fs.rmdir(path),
    list: (path) => fs.list(path),
    stat: (path) => fs.stat(path),
    syncDir: (path) => fs.syncDir(path),
    free: () => fs.free(),
    ...changes,
  };
}
