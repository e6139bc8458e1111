// Server-sent events, as https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream reads them.
import { ModelError } from '../errors.js';

/** Characters of one event; a piece of text has a few hundred. */
const LONGEST_EVENT = 1 << 22;

const NEWLINE = /\r\n|\r|\n/;

/** The payload of a finished block of lines; undefined where it has none, as comments that keep a connection open. */
function dataOf(block) {
  const lines = block.split(NEWLINE).filter((line) => line === 'data' || line.startsWith('data:'));
  return lines.length > 0 ? lines.map((line) => line.slice(5).replace(/^ /, '')).join('\n') : undefined;
}

/**
 * The payloads of a stream of bytes, however they are cut into chunks. An event that the end of the stream cuts off is not one.
 * @param {AsyncIterable<Uint8Array>} bytes
 */
export async function* readEvents(bytes) {
  const decoder = new TextDecoder();
  let pending = '';
  for await (const chunk of bytes) {
    pending += decoder.decode(chunk, { stream: true });
    // A carriage return at the very end may be the first half of a line end.
    for (let end = /(\r\n|\r(?!$)|\n)(\r\n|\r(?!$)|\n)/.exec(pending); end; end = /(\r\n|\r(?!$)|\n)(\r\n|\r(?!$)|\n)/.exec(pending)) {
      const data = dataOf(pending.slice(0, end.index));
      pending = pending.slice(end.index + end[0].length);
      if (data !== undefined) yield data;
    }
    if (pending.length > LONGEST_EVENT) throw new ModelError(`The server sent an event of more than ${LONGEST_EVENT} characters`, 'REMOTE_FAILED');
  }
}
