// A hub on this machine: the API of the Hugging Face hub over a folder of files, and what may go wrong with it.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import path from 'node:path';
import { after } from 'node:test';

export const COMMIT = '0123456789abcdef0123456789abcdef01234567';

/** Larger files count as those of the storage of large files: their etag is a SHA-256. */
const LARGE = 10_000;

const hash = (algorithm, ...parts) => parts.reduce((hashing, part) => hashing.update(part), createHash(algorithm)).digest('hex');
const etagOf = (content) => (content.length > LARGE ? hash('sha256', content) : hash('sha1', `blob ${content.length}\0`, content));

function describe(files) {
  const siblings = [...files].map(([rfilename, content]) => {
    const [size, etag] = [content.length, etagOf(content)];
    return { rfilename, size, blobId: etag, ...(size > LARGE && { lfs: { sha256: etag, size } }) };
  });
  return JSON.stringify({ sha: COMMIT, siblings });
}

/** Sends slowly: `rate` bytes a second in small pieces, as long as the other side is there. */
async function trickle(response, content, rate, count) {
  const piece = Math.max(1, Math.round(rate / 50));
  for (let at = 0; at < content.length && !response.destroyed; at += piece) {
    response.write(content.subarray(at, at + piece));
    count(Math.min(piece, content.length - at));
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  response.end();
}

/**
 * Starts a hub that has one repository, whatever its name, and is stopped when the test file ends.
 * @param {string | Map<string, Buffer>} content a folder, or files by name
 * @param {{ tls?: object, rate?: number, fault?: (request: object, response: object) => boolean }} [options] `fault` answers in place of the hub when it
 * returns true
 */
export async function startHub(content, { tls, rate, fault } = {}) {
  const files = typeof content === 'string' ? new Map(readdirSync(content).map((name) => [name, readFileSync(path.join(content, name))])) : content;
  const hub = { files, rate, fault, requests: [], sent: 0 };
  const answer = (request, response) => {
    hub.requests.push({ url: request.url, authorization: request.headers.authorization });
    if (hub.fault?.(request, response)) return;
    if (request.url.startsWith('/api/models/')) {
      response.end(describe(files));
      return;
    }
    const [, file] = /^\/[^/]+\/[^/]+\/resolve\/[^/]+\/([^?]+)/.exec(request.url);
    const whole = files.get(decodeURIComponent(file));
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
    const part = first === undefined ? whole : whole.subarray(Number(first), Number(last) + 1);
    const range = first === undefined ? {} : { 'Content-Range': `bytes ${first}-${last}/${whole.length}` };
    response.writeHead(first === undefined ? 200 : 206, { 'Content-Length': part.length, ...range });
    const count = (bytes) => (hub.sent += bytes);
    if (hub.rate && whole.length > LARGE) {
      void trickle(response, part, hub.rate, count);
      return;
    }
    count(part.length);
    response.end(part);
  };
  const server = tls ? createSecureServer(tls, answer) : createServer(answer);
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  after(() => (server.closeAllConnections(), server.close()));
  hub.url = `${tls ? 'https' : 'http'}://127.0.0.1:${server.address().port}`;
  return hub;
}
