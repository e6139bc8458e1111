export { MockLoader, MockLoader as default } from '../index.js';
