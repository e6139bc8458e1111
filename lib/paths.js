// Where models are looked for, and the only reader of environment variables in the JavaScript half.
import { homedir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** Folder of this package. */
export const PACKAGE_ROOT = fileURLToPath(new URL('..', import.meta.url));

/** What the environment says; an empty variable says nothing. */
export const environmentVariable = (name) => process.env[name] || undefined;

/** Variable -> option of a router, and how its text is read. */
const ROUTER_VARIABLES = {
  LLM_ROUTER_STRATEGY: ['strategy', String],
  LLM_ROUTER_MAX_MODELS: ['maxModels', Number],
  LLM_ROUTER_CACHE_TTL: ['cacheTTL', Number],
  LLM_ROUTER_TIMEOUT: ['timeout', Number],
  LLM_ROUTER_REGISTRY_PATH: ['registryPath', String],
};

/** Options of a router that the environment sets; options of the program win over them. */
export function routerEnvironment() {
  const given = Object.entries(ROUTER_VARIABLES).map(([variable, [option, read]]) => [option, read, environmentVariable(variable)]);
  return Object.fromEntries(given.filter(([, , text]) => text !== undefined).map(([option, read, text]) => [option, read(text)]));
}

/** Kernel that the environment asks for; a load option wins over it. */
export const isaFromEnvironment = () => environmentVariable('LLM_RUNNER_ISA');

/** Folders that may hold `models/<name>/`, in the order in which they are searched. */
export function bitnetDirs(explicit) {
  const candidates = [
    explicit,
    environmentVariable('LLM_RUNNER_BITNET_PATH'),
    path.join('temp', 'bitnet-repo'),
    path.join(PACKAGE_ROOT, 'temp', 'bitnet-repo'),
  ];
  return [...new Set(candidates.filter(Boolean).map((candidate) => path.resolve(candidate)))];
}

/** What this package keeps in the cache folder of the user. */
export function cacheFolder() {
  const { platform } = process;
  const local = () => environmentVariable('LOCALAPPDATA') ?? path.join(homedir(), 'AppData', 'Local');
  const own = platform === 'win32' ? local() : platform === 'darwin' ? path.join(homedir(), 'Library', 'Caches') : undefined;
  return path.join(own ?? environmentVariable('XDG_CACHE_HOME') ?? path.join(homedir(), '.cache'), 'llm-runner-router');
}

/** Where models are kept that were converted to a quantType. */
export const convertedModels = (explicit) => path.resolve(explicit ?? path.join(cacheFolder(), 'converted'));

/** Where Hugging Face tools keep what they have. */
export function huggingFaceHome() {
  return environmentVariable('HF_HOME') ?? path.join(environmentVariable('XDG_CACHE_HOME') ?? path.join(homedir(), '.cache'), 'huggingface');
}

/** The cache that Hugging Face tools share; they read the same variables. */
export function huggingFaceCache() {
  const hub = environmentVariable('HF_HUB_CACHE') ?? environmentVariable('HUGGINGFACE_HUB_CACHE');
  return path.resolve(hub ?? path.join(huggingFaceHome(), 'hub'));
}

/** The model that ships with the package. */
export const DEMO_MODEL = path.join(PACKAGE_ROOT, 'demo', 'bitnet-demo');
