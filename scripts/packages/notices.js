// What a package says about the work of others in it: the licences, and a bill of materials.
import { packageName } from '../../lib/platforms.js';
import { readManifest } from './manifests.js';

/** Licences that may be linked; where a crate offers several, one of them suffices. deny.toml has the same list. */
export const ALLOWED = [
  'MIT', 'Apache-2.0', 'Apache-2.0 WITH LLVM-exception', 'BSD-2-Clause', 'BSD-3-Clause', 'BSL-1.0', 'CDLA-Permissive-2.0', 'ISC', 'MPL-2.0',
  'Unicode-3.0', 'Unlicense', 'Zlib',
];

/** True where an SPDX expression of OR, AND and parentheses can be met with the licences allowed. */
export function isAllowed(expression) {
  const flat = expression.replace(/\(([^()]*)\)/g, (_, inner) => (isAllowed(inner) ? ALLOWED[0] : 'none'));
  return flat.split(/\s+OR\s+/).some((part) => part.split(/\s+AND\s+/).every((licence) => ALLOWED.includes(licence.trim())));
}

/** For crates that come without a text of the licence that they name. */
const MIT = (holder) => `Copyright (c) ${holder}

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the
"Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish,
distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to
the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR
ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH
THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.`;

function textsOf({ name, licence, repository, texts }) {
  if (texts.length > 0) return texts;
  if (!/\bMIT\b/.test(licence)) throw new Error(`the crate ${name} (${licence}) has no text of its licence`);
  return [MIT(`the authors of ${name}, ${repository}`)];
}

const title = ({ name, version, licence, repository }) => `${[name, version].filter(Boolean).join(' ')} (${licence})${repository ? `, ${repository}` : ''}`;

/** Licences of the crates, each text once, below the crates that it is for. */
export function licencesOf(crates) {
  for (const { name, licence } of crates) if (!isAllowed(licence)) throw new Error(`the crate ${name} has the licence ${licence}, which is not allowed`);
  const cratesOf = new Map();
  for (const crate of crates) for (const text of textsOf(crate)) cratesOf.set(text, [...(cratesOf.get(text) ?? []), title(crate)]);
  const sections = [...cratesOf].map(([text, titles]) => `${titles.join('\n')}\n\n${text}`);
  return `The engine contains the following works of others.\n\n${sections.join(`\n\n${'-'.repeat(80)}\n\n`)}\n`;
}

const component = ({ name, version, licence, repository, checksum }) => ({
  type: 'library',
  'bom-ref': `pkg:cargo/${name}${version ? `@${version}` : ''}`,
  name,
  ...(version && { version, purl: `pkg:cargo/${name}@${version}` }),
  licenses: [{ expression: licence }],
  ...(checksum && { hashes: [{ alg: 'SHA-256', content: checksum }] }),
  ...(repository && { externalReferences: [{ type: 'vcs', url: repository }] }),
});

/** Bill of materials of a platform's package in CycloneDX 1.6. No time and no serial number: the same crates give the same bytes. */
export function billOfMaterials(platform, crates) {
  const { version, license } = readManifest();
  const name = packageName(platform);
  const purl = `pkg:npm/${name}@${version}`;
  const components = crates.map(component);
  return {
    $schema: 'http://cyclonedx.org/schema/bom-1.6.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: { component: { type: 'library', 'bom-ref': purl, name, version, purl, licenses: [{ license: { id: license } }] } },
    components,
    dependencies: [{ ref: purl, dependsOn: components.map((part) => part['bom-ref']) }, ...components.map((part) => ({ ref: part['bom-ref'] }))],
  };
}
