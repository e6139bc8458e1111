#!/usr/bin/env node
// The command line: what it can do is in lib/cli/.
import { main } from '../lib/cli/main.js';

process.exitCode = await main(process.argv.slice(2));
