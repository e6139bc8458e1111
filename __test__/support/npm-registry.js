// A registry of npm packages on this machine, with the packages that it is given.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { after } from 'node:test';

/**
 * Serves one version of each package until the test file ends; all else is not found.
 * @param {{ manifest: object, tarball: string }[]} packages `manifest`: their package.json
 * @returns {Promise<string>} the address
 */
export async function serveRegistry(packages) {
  const server = createServer((request, response) => {
    const found = packages.find(({ manifest: { name } }) => request.url === `/${name}` || request.url === `/${name}.tgz`);
    if (!found) return response.writeHead(404).end('{}');
    const tarball = readFileSync(found.tarball);
    if (request.url.endsWith('.tgz')) return response.end(tarball);
    const { name, version } = found.manifest;
    const dist = { tarball: `${address}/${name}.tgz`, integrity: `sha512-${createHash('sha512').update(tarball).digest('base64')}` };
    return response.end(JSON.stringify({ name, 'dist-tags': { latest: version }, versions: { [version]: { ...found.manifest, dist } } }));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  after(() => server.close());
  const address = `http://127.0.0.1:${server.address().port}`;
  return address;
}
