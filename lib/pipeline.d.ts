export { Pipeline, Pipeline as default } from '../index.js';
