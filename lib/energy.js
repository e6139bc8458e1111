// Energy counters of the processor: Linux's powercap interface (RAPL, on Intel and AMD).
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

const POWERCAP = '/sys/class/powercap';

/** Counters that add up without counting anything twice: `core` and `uncore` are parts of a package, `psys` holds all of them. */
const COUNTED = /^(package-\d+|dram)$/;

const readText = (...parts) => readFileSync(path.join(...parts), 'utf8').trim();

/** The counted zones of `folder`, each with its microjoules so far and where its counter starts anew; throws where one cannot be read. */
function readZones(folder) {
  const zones = readdirSync(folder).filter((zone) => zone.includes(':') && COUNTED.test(readText(folder, zone, 'name')));
  return new Map(zones.map((zone) => [zone, { spent: Number(readText(folder, zone, 'energy_uj')), range: Number(readText(folder, zone, 'max_energy_range_uj')) }]));
}

/** The zones, or null where the machine has no counters or keeps them from this user. */
function tryReadZones(folder) {
  try {
    const zones = readZones(folder);
    return zones.size > 0 ? zones : null;
  } catch {
    return null;
  }
}

/**
 * Starts to measure. The function returned tells the joules since then: of the processor packages and their memory, whoever
 * used them; null where the machine cannot tell.
 * @param {string} [folder]
 * @returns {() => number | null}
 */
export function startEnergyMeter(folder = POWERCAP) {
  const before = tryReadZones(folder);
  return () => {
    const after = before && tryReadZones(folder);
    if (!after) return null;
    let microjoules = 0;
    for (const [zone, { spent, range }] of before) {
      const now = after.get(zone);
      if (!now) return null;
      // A counter that has started anew shows less than before.
      microjoules += now.spent >= spent ? now.spent - spent : now.spent + range - spent;
    }
    return microjoules / 1e6;
  };
}
