export { BaseLoader, BitNetLoader, MockLoader, OpenAILoader } from '../index.js';
