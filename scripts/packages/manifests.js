// What package.json says in the packages as they are published. `node scripts/packages/manifests.js` writes those under npm/ anew,
// after a change of version or platforms; a test holds them to it.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { binaryName, packageName, PLATFORMS } from '../../lib/platforms.js';
import { ROOT } from '../support.js';

/** Files of a platform's package that tell of the work of others in the engine; made when it is packed. */
export const LICENCES = 'LICENCES-OF-CRATES.txt';
export const BILL_OF_MATERIALS = 'sbom.cdx.json';

/** package.json of this checkout. */
export const readManifest = () => JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8'));

const NPM = path.join(ROOT, 'npm');

/** Folder of a platform's package. */
export const platformFolder = (platform) => path.join(NPM, platform);

/** Where the engine of a platform lies, built or downloaded, before it is packed. */
export const platformBinary = (platform) => path.join(platformFolder(platform), binaryName(platform));

/** No `engines`: npm leaves out an optional package whose `engines` do not match, and says nothing. */
function platformManifest(platform) {
  const { name, version, license, repository } = readManifest();
  const { os, cpu, libc } = PLATFORMS[platform];
  return {
    name: packageName(platform),
    version,
    description: `The engine of ${name} for ${platform}`,
    license,
    repository: { ...repository, directory: `npm/${platform}` },
    type: 'commonjs',
    main: binaryName(platform),
    files: [binaryName(platform), LICENCES, BILL_OF_MATERIALS],
    os: [os],
    cpu: [cpu],
    ...(libc && { libc: [libc] }),
  };
}

const platformReadme = (platform) => `# ${packageName(platform)}\n\nThe engine of [llm-runner-router](${readManifest().repository.url.replace(/^git\+|\.git$/g, '')}) for ${platform}.
npm installs it with \`llm-runner-router\`, where it fits; it is of no use alone.\n`;

/** The files of a platform's package beside the engine: name -> text. */
export const platformFiles = (platform) => ({
  'package.json': `${JSON.stringify(platformManifest(platform), null, 2)}\n`,
  'README.md': platformReadme(platform),
});

/**
 * The manifest of the published main package. The platforms come in here and not in package.json: as long as a version is not
 * published npm cannot lock them, and a clone could not be installed.
 */
export function publishedManifest() {
  const { scripts, devDependencies, ...manifest } = readManifest();
  // Scripts stay whose program is packed.
  const kept = Object.entries(scripts).filter(([, command]) => manifest.files.includes(command.replace(/^node /, '')));
  const optionalDependencies = Object.fromEntries(Object.keys(PLATFORMS).map((platform) => [packageName(platform), manifest.version]));
  return { ...manifest, scripts: Object.fromEntries(kept), optionalDependencies };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const platform of Object.keys(PLATFORMS)) {
    mkdirSync(platformFolder(platform), { recursive: true });
    for (const [name, text] of Object.entries(platformFiles(platform))) writeFileSync(path.join(platformFolder(platform), name), text);
  }
}
