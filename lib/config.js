// Settings of a router from three places: what the program sets wins over the environment, which wins over the file.
import { readFile, rename, writeFile } from 'node:fs/promises';
import { ModelError } from './errors.js';
import { optionNames, readOptions } from './options.js';
import { environmentVariable, routerEnvironment } from './paths.js';

/** Keys that hold secrets never leave the process. */
const SECRET = /key|secret|token|password/i;

/** Settings by name. Names that are no options of a router may be kept too; routerOptions() leaves them out. */
export class Config {
  #file = {};
  #set;

  /** @param {object} [options] */
  constructor(options = {}) {
    this.#set = { ...options };
  }

  /** The value in force: set, else of the environment (LLM_ROUTER_STRATEGY, ...), else of the file, else `fallback`. */
  get(name, fallback) {
    return this.getAll()[name] ?? fallback;
  }

  set(name, value) {
    this.#set[name] = value;
    return this;
  }

  /** A copy of all values in force. */
  getAll() {
    return { environment: environmentVariable('NODE_ENV') ?? 'development', ...this.#file, ...routerEnvironment(), ...this.#set };
  }

  /** Those of them that `new LLMRouter()` takes, checked. */
  routerOptions() {
    const names = optionNames('router');
    return readOptions(Object.fromEntries(Object.entries(this.getAll()).filter(([name]) => names.has(name))), 'router');
  }

  /** True, or throws what is wrong with an option of a router. */
  validate() {
    this.routerOptions();
    return true;
  }

  /** Reads a file of JSON. */
  async load(file) {
    const text = await readFile(file, 'utf8');
    try {
      this.#file = { ...JSON.parse(text) };
    } catch (error) {
      throw new ModelError(`${file} is no JSON: ${error.message}`, 'INVALID_ARGUMENT', { option: 'path', given: file }, { cause: error });
    }
    return this;
  }

  /** Writes all values but secrets and functions. */
  async save(file) {
    const temporary = `${file}.${process.pid}`;
    await writeFile(temporary, `${JSON.stringify(this.exportForClient(), null, 2)}\n`);
    await rename(temporary, file);
  }

  /** All values whose name does not say that they are secret. */
  exportForClient() {
    return Object.fromEntries(Object.entries(this.getAll()).filter(([name]) => !SECRET.test(name)));
  }
}

export default Config;
