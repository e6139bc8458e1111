// An OpenAI-compatible endpoint on this machine, with faults on request.
import { createServer } from 'node:http';
import { after } from 'node:test';

const event = (payload) => `data: ${typeof payload === 'string' ? payload : JSON.stringify(payload)}\n\n`;
export const delta = (content, finish = null) => event({ choices: [{ index: 0, delta: { content }, finish_reason: finish }] });
export const usage = (prompt, completion) => event({ choices: [], usage: { prompt_tokens: prompt, completion_tokens: completion } });
export const DONE = event('[DONE]');

/** Answers with pieces of an event stream. */
export const answer = (...pieces) => (request, response) => {
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
  for (const piece of pieces) response.write(piece);
  response.end();
};

export const status = (code, body = '', headers = {}) => (request, response) => {
  response.writeHead(code, headers);
  response.end(body);
};

/**
 * Starts an endpoint; each request is answered by the next of `replies`, the last one again and again.
 * @returns {Promise<{ baseURL: string, requests: { headers: object, body: object, closed: Promise<void> }[], replies: Function[] }>}
 */
export async function endpoint(...replies) {
  const requests = [];
  const state = { requests, replies };
  const server = createServer(async (request, response) => {
    let text = '';
    for await (const chunk of request.setEncoding('utf8')) text += chunk;
    const closed = new Promise((resolve) => response.once('close', resolve));
    requests.push({ url: request.url, headers: request.headers, body: JSON.parse(text), closed });
    const reply = state.replies.length > 1 ? state.replies.shift() : state.replies[0];
    reply(request, response);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  after(() => {
    server.closeAllConnections();
    server.close();
  });
  state.baseURL = `http://127.0.0.1:${server.address().port}/v1`;
  return state;
}
