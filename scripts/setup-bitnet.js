// npm run setup:bitnet: builds the engine where that is needed, then `llm-router setup` fetches a model and tries it.
import { main } from '../lib/cli/main.js';
import { ensureBuilt, say } from './support.js';

try {
  ensureBuilt();
  process.exitCode = await main(['setup', ...process.argv.slice(2)]);
} catch (error) {
  say(`Setup failed: ${error.message}`);
  process.exitCode = 1;
}
