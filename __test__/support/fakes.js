// Models that are no models, for what happens around them.
import { LLMRouter } from '../../index.js';

/** An error with a code, as a model would throw it. */
export const failure = (code, more = {}) => Object.assign(new Error(`it failed: ${code}`), { code, ...more });

/**
 * A router with fake models, loaded in the order given. Each is `{ text, ... }`, where `text` may be a function of (prompt, options) that
 * returns or throws; its calls are counted. Members beside `text`, `quality` and `price` become members of the model.
 * @param {Record<string, object>} models
 * @param {object} [options] of the router
 */
export async function fakeRouter(models, options) {
  const router = new LLMRouter(options);
  const made = {};
  router.registerLoader('fake', {
    async load({ id }) {
      const { text = id, quality, price, ...members } = models[id];
      const model = {
        id, calls: 0, format: 'fake', capabilities: { streaming: true, chat: true },
        async generate(prompt, given) {
          model.calls += 1;
          return { text: typeof text === 'function' ? await text(prompt, given) : text };
        },
        async *stream(prompt, given) {
          model.calls += 1;
          const whole = typeof text === 'function' ? await text(prompt, given) : text;
          for (const word of whole.split(/(?<= )/)) yield word;
        },
        ...members,
      };
      made[id] = model;
      return model;
    },
  });
  for (const [id, { quality, price }] of Object.entries(models)) await router.load({ source: id, type: 'fake', id, quality, price });
  return { router, models: made };
}

/** Reads a stream of the router to its end. */
export async function read(stream) {
  let text = '';
  for await (const piece of stream) text += piece;
  return { text, result: await stream.result };
}

/** generate() and stream() as two functions of the same shape. */
export const bothWays = (router) => ({
  generate: (...call) => router.generate(...call),
  stream: async (...call) => (await read(router.stream(...call))).result,
});

/** A promise with its resolve(). */
export function gate() {
  let open;
  const opened = new Promise((resolve) => (open = resolve));
  return { opened, open };
}
