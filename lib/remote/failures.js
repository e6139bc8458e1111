// What a server or the network answers in place of a text, as errors of this package. No error holds a key.
import { ModelError } from '../errors.js';

/** Bytes of an error page that are read. */
const LONGEST_BODY = 1 << 16;

/** Milliseconds that a Retry-After header asks for: seconds, or a date. */
export function retryAfterMs(header, now = Date.now()) {
  if (!header) return undefined;
  const seconds = Number(header);
  const ms = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(header) - now;
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}

/** The beginning of a body; what is cut off or breaks off does not matter. */
async function beginningOf(response) {
  const chunks = [];
  let size = 0;
  try {
    for await (const chunk of response.body ?? []) {
      chunks.push(chunk);
      size += chunk.length;
      if (size > LONGEST_BODY) break;
    }
  } catch {
    // The status says enough.
  }
  return (await new Blob(chunks).text()).slice(0, LONGEST_BODY);
}

/** What a server says of an error: the message of the OpenAI form, else the beginning of the text. */
export function messageOf(body) {
  try {
    const { error } = JSON.parse(body);
    const message = typeof error === 'string' ? error : error?.message;
    if (message) return { message: String(message), code: error?.code };
  } catch {
    // No JSON.
  }
  return { message: body.trim().slice(0, 200) };
}

const codeOf = (status, code) => {
  if (code === 'context_length_exceeded') return 'CONTEXT_OVERFLOW';
  if (status === 401 || status === 403) return 'AUTH_FAILED';
  if (status === 429) return 'RATE_LIMITED';
  return status === 408 || status >= 500 ? 'REMOTE_FAILED' : 'REMOTE_REFUSED';
};

/** The error of a response that is none of 2xx. */
export async function refusal(response, { id, where, keyHint, redact }) {
  const { status } = response;
  const { message, code: wire } = messageOf(await beginningOf(response));
  const code = codeOf(status, wire);
  const hint = code === 'AUTH_FAILED' ? ` (${keyHint})` : '';
  const details = { modelId: id, status };
  const wait = retryAfterMs(response.headers.get('retry-after'));
  if (wait !== undefined) details.retryAfterMs = wait;
  return new ModelError(`${where} answered with status ${status}${hint}${message ? `: ${redact(message)}` : ''}`, code, details);
}

/** The error of a connection that could not be made or broke off. */
export function broken(error, { id, where, redact }) {
  if (error instanceof ModelError) return error;
  const cause = error?.cause ?? error;
  const reason = cause?.code ?? cause?.message ?? String(cause);
  return new ModelError(`${where} cannot be read: ${redact(String(reason))}`, 'REMOTE_FAILED', { modelId: id });
}
