export { AbortError, ModelError, ModelError as default, ModelError as LlmError } from '../index.js';
