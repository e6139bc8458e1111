export { Config, Config as default } from '../index.js';
