export { BitNetLoader, BitNetLoader as default } from '../index.js';
