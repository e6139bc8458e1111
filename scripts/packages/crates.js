// The crates that are linked into the engine of a platform, from cargo's own resolution of the lock file.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { PLATFORMS } from '../../lib/platforms.js';
import { run } from '../support.js';

const LICENCE_FILE = /^(licen[cs]e|copying|notice|unlicense)/i;

/** Linked into every Rust program, and in no lock file. */
const STANDARD_LIBRARY = {
  name: 'std',
  version: null,
  licence: 'MIT OR Apache-2.0',
  repository: 'https://github.com/rust-lang/rust',
  checksum: null,
  texts: [],
};

const isMacro = ({ targets }) => targets.some(({ kind }) => kind.includes('proc-macro'));

/** Where both may be chosen, MIT is; its text is the one to pass on. */
function licenceTexts({ manifest_path: manifest, license }) {
  const folder = path.dirname(manifest);
  const files = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isFile() && LICENCE_FILE.test(entry.name)).map(({ name }) => name);
  const mit = files.filter((name) => /mit/i.test(name));
  const chosen = /\bMIT\b/.test(license) && !/\bAND\b/.test(license) && mit.length > 0 ? mit : files;
  return chosen.sort().map((name) => readFileSync(path.join(folder, name), 'utf8').replaceAll('\r\n', '\n').trim());
}

/** Checksums of the lock file: "name version" -> SHA-256. */
function checksums(lockFile) {
  const entries = readFileSync(lockFile, 'utf8').matchAll(/name = "([^"]+)"\nversion = "([^"]+)"\nsource = "[^"]+"\nchecksum = "([^"]+)"/g);
  return new Map([...entries].map(([, name, version, checksum]) => [`${name} ${version}`, checksum]));
}

/** Crates of others in the engine of a platform; see linkedInto(). */
export const linkedCrates = (platform) => linkedInto('Cargo.toml', PLATFORMS[platform].target);

/** Crates of others in the engine for browsers; see linkedInto(). */
export const browserCrates = () => linkedInto(path.join('crates', 'wasm', 'Cargo.toml'), 'wasm32-wasip1');

/**
 * Crates of others in the library of a manifest, sorted, without those that only run while it is built.
 * @returns {{ name: string, version: string | null, licence: string, repository: string | null, checksum: string | null, texts: string[] }[]}
 */
function linkedInto(manifest, target) {
  const { packages, resolve, workspace_root: root } = JSON.parse(
    run('cargo', ['metadata', '--format-version', '1', '--locked', '--manifest-path', manifest, '--filter-platform', target], { capture: true, quiet: true }),
  );
  const byId = new Map(packages.map((crate) => [crate.id, crate]));
  const dependencies = new Map(resolve.nodes.map(({ id, deps }) => [id, deps]));
  const linked = new Set([resolve.root]);
  // A set grows while it is walked.
  for (const id of linked) {
    for (const { pkg, dep_kinds: kinds } of dependencies.get(id)) {
      if (kinds.some(({ kind }) => kind === null) && !isMacro(byId.get(pkg))) linked.add(pkg);
    }
  }
  const known = checksums(path.join(root, 'Cargo.lock'));
  const crates = [...linked].map((id) => byId.get(id)).filter(({ source }) => source !== null).map((crate) => ({
    name: crate.name,
    version: crate.version,
    licence: crate.license.replaceAll(/\s*\/\s*/g, ' OR '),
    repository: crate.repository,
    checksum: known.get(`${crate.name} ${crate.version}`) ?? null,
    texts: licenceTexts(crate),
  }));
  return [STANDARD_LIBRARY, ...crates].sort((a, b) => (`${a.name} ${a.version}` < `${b.name} ${b.version}` ? -1 : 1));
}
