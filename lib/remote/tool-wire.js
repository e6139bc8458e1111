// Calls of tools on the wire: there their arguments are text, here they are values.
import { toolCall } from '../tools.js';

/** Messages with the arguments of calls as text. */
export function messagesToWire(messages) {
  const asText = (call) => {
    const given = call.function?.arguments;
    return { ...call, function: { ...call.function, arguments: typeof given === 'string' ? given : JSON.stringify(given ?? {}) } };
  };
  return messages.map((message) => (Array.isArray(message.tool_calls) ? { ...message, tool_calls: message.tool_calls.map(asText) } : message));
}

/** `auto` and `required`, or the one tool that must be called. */
export function choiceToWire(choice, { forced }) {
  return choice === 'auto' || choice === 'required' ? choice : { type: 'function', function: { name: forced[0].name } };
}

/** Calls put together from an answer; arguments that are no JSON stay text. */
export function callsFromWire(calls) {
  return calls.map(({ id, name, given }) => {
    try {
      return toolCall(name, JSON.parse(given || '{}'), id);
    } catch {
      return toolCall(name, given, id);
    }
  });
}
