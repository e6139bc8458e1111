export { BaseLoader, BitNetLoader, MockLoader } from '../index.js';
