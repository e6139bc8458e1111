// What the engine's module asks of its system (WASI preview 1), as far as it asks: one folder of files that are only read, clocks,
// random numbers, and a console. https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md

const OK = 0;
const BAD_DESCRIPTOR = 8;
const INVALID = 28;
const NO_ENTRY = 44;
const NOT_SUPPORTED = 58;
const NOT_PERMITTED = 63;

const DIRECTORY = 3;
const REGULAR_FILE = 4;

/** The first descriptor after those of the console: the folder. */
const FOLDER = 3;
const ALL_RIGHTS = 0xffff_ffff_ffff_ffffn;
/** crypto.getRandomValues() gives no more at a time. */
const MOST_RANDOM_BYTES = 65_536;

/** The module has ended itself: it ran out of memory, or met a mistake of ours. */
export class ModuleExit extends Error {}

/**
 * @param {string} folder where the module sees the files, such as `/model`
 * @param {Map<string, { size: number, read(offset: number, length: number): Uint8Array }>} files by name
 * @param {(line: string) => void} log takes what the module writes to its console
 */
export class Wasi {
  #folder;
  #files;
  #log;
  #memory;
  /** descriptor -> { file, position } */
  #open = new Map();
  #nextDescriptor = FOLDER + 1;
  #encoder = new TextEncoder();
  #decoder = new TextDecoder();

  constructor(folder, files, log) {
    this.#folder = folder;
    this.#files = files;
    this.#log = log;
  }

  /** The module's memory, once there is one. */
  set memory(memory) {
    this.#memory = memory;
  }

  get #view() {
    return new DataView(this.#memory.buffer);
  }

  #bytes(pointer, length) {
    return new Uint8Array(this.#memory.buffer, pointer, length);
  }

  #text(pointer, length) {
    return this.#decoder.decode(this.#bytes(pointer, length));
  }

  /** The parts of memory that a list of buffers names. */
  #buffers(pointer, count) {
    const view = this.#view;
    return Array.from({ length: count }, (_, i) => this.#bytes(view.getUint32(pointer + 8 * i, true), view.getUint32(pointer + 8 * i + 4, true)));
  }

  #writeStat(pointer, type, size) {
    this.#bytes(pointer, 64).fill(0);
    this.#view.setUint8(pointer + 16, type);
    this.#view.setBigUint64(pointer + 24, 1n, true);
    this.#view.setBigUint64(pointer + 32, BigInt(size), true);
    return OK;
  }

  /** The imports of the module. */
  get imports() {
    return {
      environ_get: () => OK,
      environ_sizes_get: (countPointer, sizePointer) => {
        this.#view.setUint32(countPointer, 0, true);
        this.#view.setUint32(sizePointer, 0, true);
        return OK;
      },
      clock_time_get: (id, _precision, timePointer) => {
        const ms = id === 0 ? Date.now() : performance.now();
        this.#view.setBigUint64(timePointer, BigInt(Math.round(ms * 1e6)), true);
        return OK;
      },
      random_get: (pointer, length) => {
        for (let at = 0; at < length; at += MOST_RANDOM_BYTES) crypto.getRandomValues(this.#bytes(pointer + at, Math.min(MOST_RANDOM_BYTES, length - at)));
        return OK;
      },
      sched_yield: () => OK,
      poll_oneoff: () => NOT_SUPPORTED, // a worker that slept could not be stopped
      proc_exit: (code) => {
        throw new ModuleExit(`the engine ended with code ${code}`);
      },
      ...this.#descriptorImports(),
      ...this.#folderImports(),
    };
  }

  #descriptorImports() {
    return {
      fd_close: (fd) => (this.#open.delete(fd) ? OK : BAD_DESCRIPTOR),
      fd_fdstat_get: (fd, pointer) => {
        if (fd > FOLDER && !this.#open.has(fd)) return BAD_DESCRIPTOR;
        this.#bytes(pointer, 24).fill(0);
        this.#view.setUint8(pointer, fd === FOLDER ? DIRECTORY : REGULAR_FILE);
        this.#view.setBigUint64(pointer + 8, ALL_RIGHTS, true);
        this.#view.setBigUint64(pointer + 16, ALL_RIGHTS, true);
        return OK;
      },
      fd_filestat_get: (fd, pointer) => {
        if (fd === FOLDER) return this.#writeStat(pointer, DIRECTORY, 0);
        const open = this.#open.get(fd);
        return open ? this.#writeStat(pointer, REGULAR_FILE, open.file.size) : BAD_DESCRIPTOR;
      },
      fd_read: (fd, buffersPointer, count, readPointer) => {
        const open = this.#open.get(fd);
        if (!open) return BAD_DESCRIPTOR;
        let total = 0;
        for (const buffer of this.#buffers(buffersPointer, count)) {
          const bytes = open.file.read(open.position, Math.min(buffer.length, open.file.size - open.position));
          buffer.set(bytes);
          open.position += bytes.length;
          total += bytes.length;
          if (bytes.length < buffer.length) break;
        }
        this.#view.setUint32(readPointer, total, true);
        return OK;
      },
      fd_seek: (fd, offset, whence, positionPointer) => {
        const open = this.#open.get(fd);
        if (!open) return BAD_DESCRIPTOR;
        const position = Number(offset) + [0, open.position, open.file.size][whence];
        if (!(position >= 0)) return INVALID;
        open.position = Math.min(position, open.file.size);
        this.#view.setBigUint64(positionPointer, BigInt(open.position), true);
        return OK;
      },
      fd_write: (fd, buffersPointer, count, writtenPointer) => {
        if (fd !== 1 && fd !== 2) return BAD_DESCRIPTOR;
        const buffers = this.#buffers(buffersPointer, count);
        this.#log(buffers.map((buffer) => this.#decoder.decode(buffer)).join(''));
        this.#view.setUint32(writtenPointer, buffers.reduce((sum, buffer) => sum + buffer.length, 0), true);
        return OK;
      },
    };
  }

  #folderImports() {
    return {
      fd_prestat_get: (fd, pointer) => {
        if (fd !== FOLDER) return BAD_DESCRIPTOR;
        this.#view.setUint32(pointer, 0, true);
        this.#view.setUint32(pointer + 4, this.#folder.length, true);
        return OK;
      },
      fd_prestat_dir_name: (fd, pointer, length) => {
        if (fd !== FOLDER) return BAD_DESCRIPTOR;
        this.#bytes(pointer, length).set(this.#encoder.encode(this.#folder).subarray(0, length));
        return OK;
      },
      fd_readdir: (fd, pointer, length, cookie, usedPointer) => {
        if (fd !== FOLDER) return BAD_DESCRIPTOR;
        const used = this.#writeEntries(this.#bytes(pointer, length), Number(cookie));
        this.#view.setUint32(usedPointer, used, true);
        return OK;
      },
      path_filestat_get: (fd, _flags, pathPointer, pathLength, pointer) => {
        if (fd !== FOLDER) return BAD_DESCRIPTOR;
        const name = this.#text(pathPointer, pathLength);
        if (name === '.' || name === '') return this.#writeStat(pointer, DIRECTORY, 0);
        const file = this.#files.get(name);
        return file ? this.#writeStat(pointer, REGULAR_FILE, file.size) : NO_ENTRY;
      },
      path_open: (fd, _lookup, pathPointer, pathLength, openFlags, _rights, _inherited, _flags, descriptorPointer) => {
        if (fd !== FOLDER) return BAD_DESCRIPTOR;
        const name = this.#text(pathPointer, pathLength);
        const isFolder = name === '.' || name === '';
        const file = this.#files.get(name);
        if (!file && !isFolder) return NO_ENTRY;
        if ((openFlags & ~2) !== 0) return NOT_PERMITTED; // nothing but "must be a folder" is a way to open what is only read
        const descriptor = isFolder ? FOLDER : this.#nextDescriptor++;
        if (file) this.#open.set(descriptor, { file, position: 0 });
        this.#view.setUint32(descriptorPointer, descriptor, true);
        return OK;
      },
    };
  }

  /** Entries from `cookie` on, the last one cut off where the buffer ends; returns the bytes written. */
  #writeEntries(buffer, cookie) {
    const names = [...this.#files.keys()];
    let used = 0;
    for (let i = cookie; i < names.length && used < buffer.length; i++) {
      const name = this.#encoder.encode(names[i]);
      const entry = new Uint8Array(24 + name.length);
      const view = new DataView(entry.buffer);
      view.setBigUint64(0, BigInt(i + 1), true);
      view.setUint32(16, name.length, true);
      view.setUint8(20, REGULAR_FILE);
      entry.set(name, 24);
      const part = entry.subarray(0, buffer.length - used);
      buffer.set(part, used);
      used += part.length;
    }
    return used;
  }
}
