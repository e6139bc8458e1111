export { BaseLoader } from './BaseLoader.js';
export { BitNetLoader } from './BitNetLoader.js';
export { MockLoader } from './MockLoader.js';
export { OpenAILoader } from './OpenAILoader.js';
