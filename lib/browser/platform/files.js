// node:fs/promises and node:path in a browser: there are no files, and whoever asks for one is told so.
import { ModelError } from '../../errors.js';

const refuse = async (file) => {
  throw new ModelError(`${file} cannot be read or written: pages have no file system. Keep JSON.stringify(...) of it in storage of your own`, 'IO_ERROR', { path: file });
};

export const [mkdir, readFile, rename, writeFile, unlink, rm, stat, open] = Array(8).fill(refuse);
/** lib/registry-file.js */
export const [readSaved, writeSaved] = [refuse, refuse];

export const dirname = (file) => file;
export default { dirname };
