export { ModelRegistry, ModelRegistry as Registry, ModelRegistry as default } from '../index.js';
