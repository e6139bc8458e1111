export { Router, Router as default } from '../../index.js';
