// npm run build: the addon for this machine, into native/.
import { build, say } from './support.js';

try {
  build();
} catch (error) {
  say(`Build failed: ${error.message}`);
  process.exitCode = 1;
}
