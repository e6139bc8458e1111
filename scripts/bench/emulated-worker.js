// node emulated-worker.js JOB: loads a model, reads a prompt and makes tokens, once. JOB is JSON: { model, isa, prompt, tokens }.
// Writes how long the prompt was and how many tokens were made, as one line of JSON.
import { load } from '../../index.js';

const { model: source, isa, prompt, tokens } = JSON.parse(process.argv[2]);
const model = await load(source, { isa, threads: 1, contextSize: 512 });
const { usage } = await model.generate('a '.repeat(prompt), { raw: true, temperature: 0, ignoreEos: true, maxTokens: tokens, speculation: 'off' });
process.stdout.write(`${JSON.stringify(usage)}\n`);
