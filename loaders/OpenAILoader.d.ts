export { OpenAILoader, OpenAILoader as default } from '../index.js';
