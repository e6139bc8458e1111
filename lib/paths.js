// Where models are looked for, and the only reader of environment variables in the JavaScript half.
import { homedir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** Folder of this package. */
export const PACKAGE_ROOT = fileURLToPath(new URL('..', import.meta.url));

const environment = (name) => process.env[name] || undefined;

/** Kernel that the environment asks for; a load option wins over it. */
export const isaFromEnvironment = () => environment('LLM_RUNNER_ISA');

/** Folders that may hold `models/<name>/`, in the order in which they are searched. */
export function bitnetDirs(explicit) {
  const candidates = [
    explicit,
    environment('LLM_RUNNER_BITNET_PATH'),
    path.join('temp', 'bitnet-repo'),
    path.join(PACKAGE_ROOT, 'temp', 'bitnet-repo'),
  ];
  return [...new Set(candidates.filter(Boolean).map((candidate) => path.resolve(candidate)))];
}

/** The cache that Hugging Face tools share; they read the same variables. */
export function huggingFaceCache() {
  const home = environment('HF_HOME') ?? path.join(environment('XDG_CACHE_HOME') ?? path.join(homedir(), '.cache'), 'huggingface');
  return path.resolve(environment('HF_HUB_CACHE') ?? path.join(home, 'hub'));
}

/** The model that ships with the package. */
export const DEMO_MODEL = path.join(PACKAGE_ROOT, 'demo', 'bitnet-demo');
