export { BaseLoader, BaseLoader as default } from '../index.js';
